"""`oncue ask`: one question about a long video, answered by looking where it matters."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from oncue.ask.export import EPISODE, FILES, PAGE, write_exports
from oncue.ask.preparation import FREE_ANSWER_CHARACTERS, check_can_retrieve, task_of
from oncue.ask.record import Asked, AskedTurn
from oncue.ask.report import AskLines, answer_line, turn_line
from oncue.ask.run import Asking
from oncue.commands.evaluating import policy_spec
from oncue.commands.number_checks import check_smallest
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.files import prepare_folder
from oncue.hub import name_or_bundled
from oncue.policy.open_policy import PolicySpec
from oncue.stopping import Stopper
from oncue.types import Question, StopReason
from oncue.video.opening import source_name
from oncue.watch.report import JsonLines

LOCAL_ONLY = ("device", "dtype", "temperature", "seed")


@dataclass(frozen=True)
class Ask:
    """Ask a question about a long video: the model sees a few frames of all of it, asks for the
    stretches it needs, and answers (Video-MTR).

    Example: oncue ask film.mp4 "Which cup is taken?" --options red blue --server
    http://localhost:8000

    Exit codes: 0 answered, 1 no answer within the turns, or a failure such as a lost server, 2 bad
    usage or input, 130 stopped by Ctrl-C or SIGTERM. What was seen until then is still written.
    """

    video: tyro.conf.Positional[str]
    """The video: a file, or an address of one that ends (http, https). A password in an address,
    and what follows ? or #, are never shown."""

    question: tyro.conf.Positional[str]
    """What you want to know."""

    options: tuple[str, ...] = ()
    """Answers to choose from, 2 to 26. They get letters, unless they begin with theirs ("A. ...").
    Without options the model answers in its own words."""

    model: str | None = None
    """A model folder or a hub id (owner/name); or mini-retrieval, which ships with oncue, for films
    of `oncue world make --world long` alone. This or --server is needed."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server (vLLM, SGLang, ...), such as
    http://localhost:8000, whose model is asked instead of one that runs here. --model is then the
    server's name for it, and may be left out if it has only one. A key for the server is taken from
    OPENAI_API_KEY."""

    frames: int = 128
    """Frames of the whole video that the model can ask for, its pool. The paper has 128, the
    released code 64."""

    budget: int = 32
    """Frames shown in all of 3 turns: half of them at first, a quarter in each later turn. The
    paper has 32, 64 and 80."""

    first_frames: int | None = None
    """Frames of the whole video shown in the first turn, in place of half of --budget. 0 shows
    none."""

    look_frames: int | None = None
    """Frames shown at most in a later turn, in place of a quarter of --budget."""

    max_turns: int = 3
    """Turns of the model, the one with its answer included."""

    unit: Literal["frames", "seconds"] = "frames"
    """What the model asks by: numbers of frames in the pool, as in the paper, or seconds."""

    marks: Literal["frames", "seconds", "both"] | None = None
    """The mark before each frame that the model is shown. By default what --unit counts, and
    both with --zoom."""

    zoom: bool = False
    """Take the frames of a look from the video itself, more finely than the pool. Not in the paper.
    A look then has as many frames as it may have, or one where it is a single moment."""

    thinking: Literal["required", "asked", "off"] = "asked"
    """Whether the model is asked to think before it acts. required: a turn without a thought is not
    valid. off: it is not asked to."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    temperature: float = 0.0
    """0 always takes the likeliest token."""

    seed: int = 0
    """Seed of the sampling."""

    max_new_tokens: int = 512
    """Longest turn of the model, its thought included; a longer one is cut, and not valid."""

    context_tokens: int | None = None
    """Longest context the model is given. By default what the model has room for. The last 2 turns
    before the one that is shown are in it, as in the paper."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's
    folder says, but no more than 128 vision tokens (100352 pixels with Qwen2.5-VL, 131072 with
    Qwen3-VL)."""

    json: bool = False
    """One JSON object per line on stdout as things happen, the answer last; everything else goes to
    stderr."""

    out: Path | None = None
    """Folder for index.html, a page to look at, and episode.jsonl, which `oncue view` and `oncue
    score rewards` read."""

    def run(self) -> int:
        """Look, print, answer, export. Returns the exit code."""
        task = task_of(self.video, self.question, self.options)
        settings, spec = self._settings(), self._policy()
        if self.out is not None:
            prepare_folder(self.out, files=FILES)
        report = _Report(self, AskLines(sys.stderr if self.json else sys.stdout))
        asking = Asking(
            source_name(self.video), task, settings, turned=report.turned, doing=report.lines.doing
        )
        stopper = Stopper()
        try:
            with stopper.listening():
                asked = self._ask(asking, spec, stopper, report)
        finally:
            report.lines.stop()
        if stopper.stopped:
            return 130
        return 0 if asked.answer is not None else 1

    def _ask(self, asking: Asking, spec: PolicySpec, stopper: Stopper, report: _Report) -> Asked:
        """The whole of it. What was seen before an error is written, too."""
        stop: str = StopReason.CANCELLED
        try:
            stop = asking.run(self.video, spec, self.frames, stopper, zoom=self.zoom)
        except KeyboardInterrupt:
            stopper.stopped = True
        except BaseException:
            if asking.turns:
                report.finished(asking.finish("failed"))
            raise
        with stopper.undisturbed():
            asked = asking.finish(stop)
            report.finished(asked)
        return asked

    def _settings(self) -> RetrievalSettings:
        """Raises ConfigError for what cannot be, before anything is opened."""
        check_smallest(
            self,
            frames=1,
            budget=4,
            first_frames=0,
            look_frames=1,
            max_turns=1,
            max_new_tokens=1,
            context_tokens=1,
            temperature=0,
            seed=0,
        )
        if self.zoom and self.marks == "frames":
            raise ConfigError(
                "--zoom shows frames between those of the pool, which have no number; give --marks "
                "seconds or both with it"
            )
        settings = RetrievalSettings.for_budget(self.budget, self.max_turns)
        chosen = {"first_frames": self.first_frames, "frames_per_look": self.look_frames}
        return replace(
            settings,
            **{name: number for name, number in chosen.items() if number is not None},
            unit=self.unit,
            marks=self.marks or ("both" if self.zoom and self.unit == "frames" else self.unit),
            thinking=self.thinking,
            max_answer_characters=FREE_ANSWER_CHARACTERS,
        )

    def _policy(self) -> PolicySpec:
        """The policy that the flags name. Raises ModelError for one that cannot retrieve, and
        ConfigError for a device or dtype that cannot be: before the video is read."""
        if self.server is None:
            from oncue.model.loading import pick_device, pick_dtype

            check_can_retrieve(name_or_bundled(self.model))
            pick_dtype(self.dtype, pick_device(self.device))
        sampling = {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens}
        texts = [Question(text) for text in (self.question, *self.options)]
        return policy_spec(self, sampling, self.seed, LOCAL_ONLY, texts)


class _Report:
    """Where the looks and the answer go."""

    def __init__(self, flags: Ask, lines: AskLines) -> None:
        self.flags, self.lines = flags, lines
        self._stream = JsonLines() if flags.json else None

    def turned(self, turn: AskedTurn) -> None:
        """Say what was done in a turn."""
        line = turn_line(turn)
        if self._stream is not None and line is not None:
            self._stream.write(line)
        self.lines.turned(turn)

    def finished(self, asked: Asked) -> None:
        """Write the files, then the answer: whoever reads the last line finds them there. Whoever
        stops before the first turn keeps what was there."""
        out = self.flags.out if asked.turns else None
        if out is not None:
            write_exports(out, asked)
        if self._stream is not None:
            self._stream.write(answer_line(asked))
        self.lines.finished(asked)
        if out is not None:
            self.lines.noted(f"wrote {out / PAGE} and {EPISODE} beside it")
