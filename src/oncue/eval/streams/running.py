"""Running a policy on the items of a benchmark: each is a stretch of a video, watched turn by turn
in the one loop, and what was said becomes a line of the predictions file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from oncue import __version__
from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.data_files import FileDigest
from oncue.errors import ConfigError, DataError, InputError, VideoError
from oncue.eval.episodes import watch
from oncue.eval.resuming import seed_of
from oncue.eval.runner import ShowProgress, show_nothing, watch_items
from oncue.eval.streams.benchmark import StreamBenchmark
from oncue.eval.streams.journal import PredictionJournal
from oncue.eval.streams.policies import MODEL, Contender, reply_bias_of
from oncue.eval.streams.predictions import PredictionFile
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.videos import ChosenItems
from oncue.policy.open_policy import LocalModel, Policy, PolicySpec, ServerModel, open_policy
from oncue.startup import loading
from oncue.types import GoldTurn, PolicySession, Task, TimedReply, TimeSpan
from oncue.video.excerpt import open_excerpt
from oncue.video.probe import probe


@dataclass(frozen=True, slots=True)
class Watching:
    """How items are shown: a frame every `frame_interval_s` seconds, `frames_per_turn` of them
    before the policy decides again.

    `system`: the system message, by default the policy's own. `seed` starts the random numbers of
    the sessions. `at_once`: how many items are watched together. Raises ConfigError for numbers out
    of range.
    """

    frame_interval_s: float = 1.0
    frames_per_turn: int = 1
    system: str | None = None
    seed: int = 0
    at_once: int = 8

    def __post_init__(self) -> None:
        try:
            Clock(self.frame_interval_s)
        except ValueError as error:
            raise ConfigError(f"--frame-interval-s cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class StreamRun:
    """What is run: `chosen` items of a benchmark, of `num_items` in `annotations`, drawn with
    `limit` and `seed` where a limit is given."""

    benchmark: StreamBenchmark[Any]
    annotations: tuple[Path, ...]
    chosen: ChosenItems[Item[Any]]
    num_items: int
    contender: Contender
    watching: Watching
    limit: int | None = None

    def protocol(self, spec: PolicySpec) -> dict[str, Any]:
        """All that the predictions depend on, but for the model, which is known once it is open."""
        watching, contender = self.watching, self.contender
        return {
            "benchmark": self.benchmark.card.name,
            "options": asdict(self.benchmark) or None,  # type: ignore[call-overload]
            "annotations": [_digest(path) for path in self.annotations],
            "policy": contender.name,
            "frame_interval_s": watching.frame_interval_s,
            "frames_per_turn": watching.frames_per_turn,
            **_sampling_of(spec),
            "say": contender.say if contender.speaks_fixed_text else None,
            "poll_frames": contender.poll_frames if contender.polls else None,
            "limit": self.limit,
            "seed": watching.seed,
            "n_items": len(self.chosen.items),
            "n_left_out": self.chosen.num_left_out,
            "oncue": __version__,
        }

    def journal(self, path: Path, spec: PolicySpec, *, resume: bool) -> PredictionJournal:
        """The predictions file at `path`, begun or gone on with."""
        ids = [item.stream.item_id for item in self.chosen.items]
        is_part = len(ids) < self.num_items
        return PredictionJournal(path, self.protocol(spec), ids, is_part=is_part, resume=resume)


def predict(
    run: StreamRun,
    model: PolicySpec,
    path: Path,
    show: ShowProgress = show_nothing,
    *,
    resume: bool,
) -> PredictionFile:
    """The predictions of a run, in `path`, whose contender may use `model`. With `resume`, what is
    in `path` already is kept.

    Raises ConfigError for a file of another run, and what the policy and the videos raise: what was
    finished by then is in the file. Not for use inside an event loop.
    """
    spec = run.contender.spec(model)
    journal = run.journal(path, spec, resume=resume)
    left = [item for item in run.chosen.items if not journal.has(item.stream.item_id)]
    with loading():
        policy = open_policy(spec)
    with policy:
        journal.begin(_model_of(policy, spec, run))
        with show(f"watching ({_shown(run.contender, spec)})", len(left)) as steps:
            watcher = _ItemWatcher(run, journal.add)
            completed(watch_items(watcher, left, policy, steps.step))
    journal.finish()
    return PredictionFile.open(path)


def _digest(path: Path) -> str:
    """Of a file of annotations, or of all JSON files of a folder."""
    files = sorted(path.rglob("*.json*")) if path.is_dir() else [path]
    digests = [FileDigest.of(file).sha256 for file in files]
    whole = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    return (digests[0] if len(digests) == 1 else whole)[:12]


def _sampling_of(spec: PolicySpec) -> dict[str, Any]:
    """How answers are chosen; nothing of that for a script. A server is asked greedily."""
    names = ("temperature", "reply_bias", "max_new_tokens")
    if isinstance(spec, LocalModel) and spec.sampling is not None:
        return {name: getattr(spec.sampling, name) for name in names}
    if isinstance(spec, ServerModel) and spec.options is not None:
        options = spec.options
        return dict(zip(names, (0.0, options.reply_bias, options.max_new_tokens), strict=True))
    return dict.fromkeys(names)


def _shown(contender: Contender, spec: PolicySpec) -> str:
    """Who watches, for the progress of a run that may be one of several."""
    bias = reply_bias_of(spec) if contender.kind == MODEL else 0.0
    return f"{contender.name}, reply bias {bias:g}" if bias else contender.name


def _model_of(policy: Policy[PolicySession], spec: PolicySpec, run: StreamRun) -> dict[str, Any]:
    """What the protocol says of a policy once it is open."""
    if not run.contender.has_model:
        names = ("model", "server", "device", "dtype", "max_pixels", "window", "system")
        return dict.fromkeys(names)
    how = policy.provenance.as_json()
    tokens = how.pop("context_tokens")
    window: str | None = "whole" if tokens is None else f"{tokens} tokens"
    if tokens is None and isinstance(spec, ServerModel) and spec.options is not None:
        window = f"{spec.options.window.max_rounds} turns"
    system = run.watching.system
    if run.contender.polls:
        window = None  # each poll is a dialogue of its own
    elif system is None:
        system = policy.default_system
    digest = None if system is None else hashlib.sha256(system.encode()).hexdigest()[:12]
    return {"model": policy.name, **how, "window": window, "system": digest}


class _ItemWatcher:
    """Watches items, and hands on what was said of each."""

    def __init__(self, run: StreamRun, on_item: Callable[[Prediction], None]) -> None:
        self.num_at_once = run.watching.at_once
        self._run, self._on_item = run, on_item

    async def watch(self, item: Item[Any], policy: Policy[PolicySession]) -> None:
        stream, watching, contender = item.stream, self._run.watching, self._run.contender
        path = self._run.chosen.paths[stream.video]
        seed = seed_of(watching.seed, stream.item_id)
        try:
            source = contender.source(
                open_excerpt(path, watching.frame_interval_s, stream.start_s, stream.end_s)
            )
            with closing(source):
                task = task_of(stream, getattr(source, "duration_s", None))
                with closing(contender.session(policy, task, watching.system, seed)) as session:
                    said = await watch(
                        source, session, task, frames_per_turn=watching.frames_per_turn
                    )
        except InputError as error:
            raise type(error)(f"{stream.item_id} ({path}): {error}") from error
        self._on_item(
            Prediction(
                stream.item_id,
                tuple(
                    TimedReply(round(stream.start_s + r.time_s, 9), r.text) for r in said.replies
                ),
                said.watched_s,
                said.num_turns,
                said.num_silent,
            )
        )


def task_of(stream: Stream, length_s: float | None = None) -> Task:
    """What a policy is asked, in seconds from the start of the stretch, which lasts `length_s`.

    What was asked before the stretch is asked at its start; what is said behind its end (subtitles
    may go on) is left out. Raises DataError for a first question behind it.
    """
    asked = [replace(q, time_s=max(0.0, q.time_s - stream.start_s)) for q in stream.questions]
    heard = [q for q in asked if length_s is None or q.time_s <= length_s]
    if asked and asked[0] not in heard:
        raise DataError(
            f"the question is at {stream.questions[0].time_s:.10g} s, but what is watched ends at "
            f"{stream.start_s + (length_s or 0.0):.10g} s; give the whole video"
        )
    return Task(stream.item_id, tuple(heard), tuple(_moved(g, stream.start_s) for g in stream.due))


def _moved(gold: GoldTurn, start_s: float) -> GoldTurn:
    span = TimeSpan(gold.span.start_s - start_s, gold.span.end_s - start_s)
    return GoldTurn(gold.content, span, gold.question)


def check_videos(
    items: Sequence[Item[Any]], paths: Mapping[str, Path], show: ShowProgress = show_nothing
) -> None:
    """Opens each video once, so that what cannot be watched is said before the first is watched.

    Raises DataError for items that do not fit their video.
    """
    videos = dict.fromkeys(item.stream.video for item in items)
    lengths_s: dict[str, float | None] = {}
    wrong: list[str] = []
    with show("checking videos", len(videos)) as steps:
        for video in videos:
            try:
                lengths_s[video] = probe(paths[video]).duration_s
            except VideoError as error:
                wrong.append(str(error))
            steps.step()
    for item in items:
        stream = item.stream
        if (whole_s := lengths_s.get(stream.video)) is not None:
            end_s = whole_s if stream.end_s is None else min(stream.end_s, whole_s)
            try:
                if stream.start_s >= whole_s:
                    raise DataError(
                        f"it is watched from {stream.start_s:.10g} s on, but the video "
                        f"ends at {whole_s:.10g} s; give the whole video"
                    )
                task_of(stream, end_s - stream.start_s)
            except DataError as error:
                wrong.append(f"{stream.item_id} ({paths[stream.video]}): {error}")
    if wrong:
        more = "" if len(wrong) == 1 else f" ({len(wrong)} such videos or items in all)"
        raise DataError(
            f"{wrong[0]}{more}. To do without, take the file out of the folder of --videos and "
            "give --allow-missing"
        )
