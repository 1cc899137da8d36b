"""`oncue eval mcq`: questions with options about long videos, answered by looking where it
matters."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from oncue.ask.preparation import check_can_retrieve, shrink_for
from oncue.commands.evaluating import evaluate, policy_spec
from oncue.commands.number_checks import check_smallest
from oncue.data.data_files import FileDigest
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.eval.benchmarks.mcq import MODES, Mcq, McqSetup, files_of
from oncue.eval.benchmarks.mcq_journal import Journal
from oncue.eval.benchmarks.mcq_result import Mode
from oncue.eval.benchmarks.mcq_rows import McqFormat, read_questions
from oncue.eval.benchmarks.mcq_videos import Chosen, choose
from oncue.eval.videos import MissingVideosError
from oncue.hub import name_or_bundled

LOCAL_ONLY = ("device", "dtype", "temperature")


@dataclass(frozen=True)
class EvalMcq:
    """Ask the questions of a benchmark of long videos as `oncue ask` does: the model sees a few
    frames, asks for more, and picks an option (Video-MTR). A question without an answer is wrong.

    Example: oncue eval mcq test.jsonl --format videomme --videos videos/ --baselines --out run/
    --server http://localhost:8000

    A model that was trained on NExT-GQA has seen its val and test questions: give no score on
    NExT-GQA for it.
    """

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files of questions, JSON lines or a JSON array each."""

    format: McqFormat
    """Whose form the files have, as published; see docs/eval_mcq.md. rows: those of `oncue data
    curate` and of Video-MTR."""

    videos: Path | None = None
    """The folder of the videos. They may lie in folders below it. Not needed for --blind."""

    single_turn: bool = False
    """No retrieval: the model has one turn, and is shown as many frames as retrieval may show,
    evenly spread."""

    blind: bool = False
    """The model is shown no frame."""

    baselines: bool = False
    """All three in one run: retrieval, single turn and blind, on the same questions."""

    budget: int = 32
    """Frames shown in all of 3 turns: half of them at first, a quarter in each later turn. The
    paper has 32, 64 and 80."""

    frames: int = 128
    """Frames of the whole video that the model can ask for, its pool. The paper has 128, the
    released code 64."""

    max_turns: int = 3
    """Turns of the model, the one with its answer included."""

    unit: Literal["frames", "seconds"] = "frames"
    """What the model asks by: numbers of frames in the pool, as in the paper, or seconds."""

    marks: Literal["frames", "seconds", "both"] | None = None
    """The mark before each frame that the model is shown. By default what --unit counts."""

    thinking: Literal["required", "asked", "off"] = "asked"
    """Whether the model is asked to think before it acts. required: a turn without a thought is not
    valid. off: it is not asked to."""

    limit: int | None = None
    """Number of questions, drawn by --seed; by default all. For a trial."""

    seed: int = 0
    """Draws the questions of --limit, and the random numbers of sampling."""

    allow_missing: bool = False
    """Leave out the questions whose video is missing. The scores say how many; they are then not
    those of the benchmark."""

    at_once: int = 8
    """Questions that are asked together. Memory holds the frames of at most so many videos."""

    model: str | None = None
    """A model folder or a hub id (owner/name); or mini-retrieval, which ships with oncue, for films
    of `oncue world make --world long` alone. This or --server is needed."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue ask`; --model is then its name for
    the model."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    temperature: float = 0.0
    """0 always takes the likeliest token."""

    max_new_tokens: int = 1024
    """Longest turn of the model, its thought included; a longer one is cut, and not valid."""

    context_tokens: int | None = None
    """Longest context the model is given. By default what the model has room for. The last 2 turns
    before the one that is shown are in it, as in the paper."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's
    folder says, but no more than 128 vision tokens."""

    resume: bool = False
    """Go on with the run in --out, with the same settings. Without a run there, start one."""

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json, the predictions in the benchmark's form, and the episodes, which
    `oncue score rewards` reads. It keeps what is finished, for --resume."""

    def run(self) -> int:
        """Read, look, score. Returns the exit code."""
        setup = self._setup()
        if self.server is None:
            check_can_retrieve(name_or_bundled(self.model))
        chosen = self._chosen(setup)
        episodes = {mode: names[1] for mode, names in files_of(setup.modes).items()}
        journal = Journal(self.out, episodes, setup.shown, resume=self.resume)
        sampling = {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens}
        benchmark = Mcq(
            setup,
            chosen.questions,
            chosen.paths,
            journal,
            left_out=chosen.left_out,
            shrink=shrink_for(policy_spec(self, sampling, self.seed, LOCAL_ONLY, ())),
            num_at_once=self.at_once,
        )
        return evaluate(self, benchmark, sampling, LOCAL_ONLY, self.seed)

    def _modes(self) -> tuple[Mode, ...]:
        given = {"single-turn": self.single_turn, "blind": self.blind, "all": self.baselines}
        if sum(given.values()) > 1:
            raise ConfigError(
                "give one of --single-turn, --blind and --baselines; --baselines runs all three"
            )
        if self.baselines:
            return MODES
        return ("single-turn",) if self.single_turn else ("blind",) if self.blind else MODES[:1]

    def _setup(self) -> McqSetup:
        """Raises ConfigError for what cannot be, before anything is read."""
        check_smallest(
            self,
            budget=4,
            frames=1,
            max_turns=1,
            limit=1,
            seed=0,
            at_once=1,
            temperature=0,
            max_new_tokens=1,
            context_tokens=1,
        )
        modes = self._modes()
        if not self.files:
            raise ConfigError("name a file of questions; several files of one format may be given")
        if self.videos is None and modes != ("blind",):
            raise ConfigError(
                "give the folder of the videos with --videos; only --blind needs none"
            )
        if self.resume and self.out is None:
            raise ConfigError("--resume goes on with the run in --out; give that folder")
        settings = replace(
            RetrievalSettings.for_budget(self.budget, self.max_turns),
            unit=self.unit,
            marks=self.marks or self.unit,
            thinking=self.thinking,
        )
        return McqSetup(
            self.format, modes, self.frames, settings, self.seed, self._shown(settings.marks)
        )

    def _shown(self, marks: str) -> dict[str, Any]:
        """What the answers depend on, by the names of the flags, and the files by their content."""
        names = (
            *("format", "budget", "frames", "max_turns", "unit", "thinking", "limit", "seed"),
            *("temperature", "max_new_tokens", "context_tokens", "max_pixels", "dtype"),
        )
        shown = {name: getattr(self, name) for name in names}
        digests = [FileDigest.of(path).sha256 for path in self.files if path.is_file()]
        return {**shown, "marks": marks, "files": digests}

    def _chosen(self, setup: McqSetup) -> Chosen:
        """Raises ConfigError where no score and no file would come of it."""
        questions = read_questions(self.files, self.format, self.frames)
        try:
            chosen = choose(
                questions,
                None if setup.modes == ("blind",) else self.videos,
                limit=self.limit,
                seed=self.seed,
                allow_missing=self.allow_missing,
            )
        except MissingVideosError as error:
            for path in error.paths:
                print(f"missing: {path}", file=sys.stderr)
            raise
        if self.out is None and all(question.gold is None for question in chosen.questions):
            raise ConfigError(
                "the right answers of these questions are not public, so that there are only "
                "predictions; say where to write them with --out"
            )
        return chosen
