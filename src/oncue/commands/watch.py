"""`oncue watch`: timed replies as they happen."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from oncue.clock import Clock
from oncue.commands.number_checks import check_smallest
from oncue.errors import ConfigError, SourceLostError
from oncue.files import prepare_folder
from oncue.hub import name_or_bundled
from oncue.policy.skip_unchanged import SkipUnchanged, check_threshold
from oncue.startup import loading
from oncue.stopping import Stopper
from oncue.types import FrameSource, PolicySession, Question, StopReason, Task
from oncue.watch.context import ENDLESS_CONTEXT_TOKENS, is_too_long, planned_video
from oncue.watch.export import FILES
from oncue.watch.outputs import WatchOutputs
from oncue.watch.questions import parse_questions
from oncue.watch.record import KeptFrames, Recorder
from oncue.watch.report import Lines
from oncue.watch.run import watch_source


@dataclass(frozen=True)
class Watch:
    """Watch a video and speak on cue: replies appear while it is being watched.

    Example: oncue watch clip.mp4 --ask "Tell me whenever someone comes in." --out seen/ Exit codes:
    0 done, 1 a model server failed, a camera was lost, memory ran out or a disk is full, 2 bad
    usage or input, 130 stopped by Ctrl-C, SIGTERM or a closed terminal. What was seen is still
    written.
    """

    source: tyro.conf.Positional[str]
    """The video: a file, or an address such as rtsp://... or https://... A password in an address,
    and what follows ? or #, are never shown. A camera or broadcast that is lost is connected again,
    six times in a minute; then watching ends with "stop": "source_lost" and exit code 1."""

    ask: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What you want to know; may be given several times. "12.5: TEXT" or "1:30: TEXT" asks at
    that video time, without a time at the start. A text that itself begins with a number and a
    colon needs "0: " before it."""

    model: str | None = None
    """A model folder, a hub id (owner/name), or mini, which ships with the package. By default
    mini."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server (vLLM, SGLang, ...), such as
    http://localhost:8000, whose model is asked instead of one that runs here. --model is then the
    server's name for it, and may be left out if it has only one. A key for the server is taken from
    OPENAI_API_KEY."""

    verify_silence: bool = False
    """With --server: take a turn for silence only if all of it is NO REPLY, not by its first word.
    Slower."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    frame_interval_s: float = 1.0
    """Seconds of video from one frame to the next."""

    frames_per_turn: int = 1
    """Frames shown before the model decides again."""

    temperature: float = 0.0
    """0 always takes the likeliest token."""

    seed: int = 0
    """Seed of the sampling."""

    reply_bias: float = 0.0
    """Added to the log-odds of replying in every turn: above 0 the model speaks more readily, below
    0 less. 0: as it was trained."""

    max_new_tokens: int = 512
    """Longest reply; a longer one is cut."""

    context_tokens: int | None = None
    """Longest context the model is given: before it grows beyond, old turns are dropped, down to
    half. The newest question always stays, and as far as there is room older ones, the last replies
    and the newest turns. It cannot be longer than what the model was made for. By default
    everything is kept as long as the model has room. For a stream without a known end, and for a
    video too long for the model, the bound is 16384 tokens. With --server the tokens are estimated,
    and by default 64 turns are kept."""

    cuda_graphs: bool = False
    """Replay the model's forwards as CUDA graphs: fewer launches, so faster turns on a GPU. The
    first turn of each shape is slow, since its graph is recorded then."""

    skip_unchanged: float | None = None
    """Do not show the model a frame that differs from the last one it was shown by less than this
    many grey levels (of 255, on average over the picture). Such a turn is silent and costs next to
    nothing. The noise of a camera is often below 1; a small thing that moves may be, too. By
    default every frame is shown."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's
    folder says, but no more than the 128 vision tokens MMDuet2 was trained with (100352 with
    Qwen2.5-VL, 131072 with Qwen3-VL)."""

    system: str | None = None
    """System message. By default the proactive one that the model's decision format is trained
    with."""

    json: bool = False
    """One JSON object per line on stdout as things happen, the summary last; everything else goes
    to stderr."""

    out: Path | None = None
    """Folder for replies.jsonl, replies.srt, replies.vtt and index.html, a page to look at."""

    gold: Path | None = None
    """Annotation file (ProactiveVideoQA format, as of `oncue world make`): the questions of all its
    rows about this video are asked, and the page shows when replies are due. With --ask, what you
    ask takes the place of the questions; the page still shows when replies to theirs are due."""

    realtime: bool = False
    """Show a file in real time, as if it came from a camera. All its frames are shown: a slower
    model falls behind, and the summary says how far. A live source is always shown in real time."""

    every_frame: bool = False
    """Show all frames of a live source (a camera, a stream without a known end), however far the
    model falls behind. By default frames are dropped to stay current when the model is slower than
    they come; the summary says how many. Waiting frames take up at most 512 MiB; beyond that the
    oldest are dropped, and a warning says so."""

    def run(self) -> int:
        """Watch, print, export. Returns the exit code."""
        from oncue.commands.annotated import annotated_task

        task = annotated_task(self.gold, self.source) if self.gold is not None else Task("watch")
        questions = parse_questions(self.ask) if self.ask or not task.questions else task.questions
        recorder = Recorder(
            questions, self._clock(), KeptFrames() if self.out is not None else None
        )
        if self.out is not None:
            prepare_folder(self.out, files=FILES)
        screen = Lines(sys.stderr if self.json else sys.stdout)
        stopper = Stopper()
        run = WatchOutputs(
            self.source,
            name_or_bundled(self.model),
            recorder,
            screen,
            gold=task.gold,
            out=self.out,
            json=self.json,
        )
        try:
            with stopper.listening(), ExitStack() as closing:
                self._watch(run, stopper, closing)
        finally:
            screen.stop()
        return 130 if stopper.stopped else 0

    def _watch(self, run: WatchOutputs, stopper: Stopper, closing: ExitStack) -> None:
        """The whole of it: open, watch, report. What was seen before an error is written, too."""
        from oncue.env.streaming import turns_to_read_ahead

        stop = "cancelled"
        try:
            with loading():
                source, session = self._open(run, closing)
            stop = watch_source(
                source,
                session,
                run.recorder,
                frames_per_turn=self.frames_per_turn,
                turns_ahead=0 if run.is_live else turns_to_read_ahead(self._lookahead()),
                events=run.events(),
                stopper=stopper,
            ).value
        except KeyboardInterrupt:
            stopper.stopped = True
        except BaseException as error:
            if run.recorder.num_turns:
                stop = "source_lost" if isinstance(error, SourceLostError) else "failed"
                (run.save if isinstance(error, BrokenPipeError) else run.report)(stop)
            raise
        with stopper.undisturbed():
            run.report(stop)
        if stop == StopReason.SOURCE_ENDED:
            run.check_all_asked()  # only now: a source may be shorter than it says

    def _open(self, run: WatchOutputs, closing: ExitStack) -> tuple[FrameSource, PolicySession]:
        """The video first: what is no video should be found before a model is loaded."""
        from oncue.env.streaming import check_questions, check_text
        from oncue.video.read_ahead import ReadAhead
        from oncue.video.source import Paced, open_source

        source: FrameSource = open_source(self.source, self.frame_interval_s, self.every_frame)
        run.is_live = getattr(source, "is_live", False)
        run.video_s = getattr(source, "duration_s", None)
        run.opened = source
        run.info = getattr(source, "info", None)
        if self._is_file():
            # decodes while the model is loaded; a camera must not be read ahead
            source = ReadAhead(source)
        try:
            check_questions(run.recorder.questions, run.video_s)
            check_text("the system message", self.system or "")
            if self.server is None:
                session = self._session(run=run, closing=closing)
            else:
                session, run.model = self._server_session(run.recorder.questions, closing)
            if self.skip_unchanged is not None:
                session = run.filter = SkipUnchanged(session, self.skip_unchanged)
        except BaseException:
            source.close()
            raise
        run.load_s = time.perf_counter() - run.started
        if self.realtime and not run.is_live:
            source = Paced(source)
        run.source = source
        return source, session

    def _is_file(self) -> bool:
        return Path(self.source).is_file()

    def _lookahead(self) -> int:
        """How many turns may share the forward of the one before them: none where frames come as
        they happen, where each may be left out, where the model is elsewhere, and at the fixed
        shapes of CUDA graphs."""
        from oncue.env.streaming import FILE_LOOKAHEAD

        one_by_one = (
            self.realtime
            or self.cuda_graphs
            or self.server is not None
            or self.skip_unchanged is not None
        )
        return FILE_LOOKAHEAD if self._is_file() and not one_by_one else 0

    def _session(self, *, run: WatchOutputs, closing: ExitStack) -> PolicySession:
        """A session on a model that runs here; `closing` closes it."""
        from oncue.engine.engine import SamplingParams, Window
        from oncue.policy.open_policy import LocalModel, open_policy

        sampling = SamplingParams(
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
            reply_bias=self.reply_bias,
        )
        name = name_or_bundled(self.model)
        loaded = LocalModel(name, self.device, self.dtype, max_pixels=self.max_pixels).load()
        most = min(ENDLESS_CONTEXT_TOKENS, loaded.max_prefix_tokens)
        bound = self.context_tokens or (most if run.video_s is None else None)
        planned = None
        if bound is None and self.skip_unchanged is None:
            planned = planned_video(
                run.video_s, run.info, self.frame_interval_s, self.frames_per_turn
            )
        if planned is not None and is_too_long(
            loaded, self.system, run.recorder.questions, planned, most, run.screen.noted
        ):
            bound = most
        spec = LocalModel(
            loaded,
            sampling=sampling,
            window=Window(most, when_full=True) if bound is None else Window(bound),
            lookahead=self._lookahead(),
            graph_tokens=(bound or ENDLESS_CONTEXT_TOKENS) if self.cuda_graphs else None,
        )
        return closing.enter_context(open_policy(spec)).open(system=self.system)

    def _server_session(
        self, questions: Sequence[Question], closing: ExitStack
    ) -> tuple[PolicySession, str]:
        """A session on the chat server, and the name of its model; `closing` closes it."""
        from oncue.commands.server import server_model
        from oncue.policy.open_policy import open_policy

        local_only = ("device", "dtype", "temperature", "seed", "reply_bias", "cuda_graphs")
        spec = server_model(self, local_only, questions, verify_silence=self.verify_silence)
        policy = closing.enter_context(open_policy(spec))
        return policy.open(system=self.system), policy.name

    def _clock(self) -> Clock:
        """The grid of video time. Checks the numbers that would otherwise be found wrong only after
        loading."""
        check_smallest(
            self, frames_per_turn=1, max_new_tokens=1, temperature=0, seed=0, context_tokens=1
        )
        if self.skip_unchanged is not None:
            check_threshold(self.skip_unchanged)
        if self.verify_silence and self.server is None:
            raise ConfigError("--verify-silence is for models behind a --server; leave it out")
        try:
            return Clock(self.frame_interval_s)
        except ValueError as error:
            raise ConfigError(f"--frame-interval-s cannot be used: {error}") from error
