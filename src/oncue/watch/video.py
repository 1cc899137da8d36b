"""Watching a video from Python: one call, all replies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.policy.open_policy import LocalPolicy, Policy
from oncue.types import PolicySession
from oncue.video.opening import source_name
from oncue.video.source import open_source
from oncue.watch.context import ENDLESS_CONTEXT_TOKENS
from oncue.watch.questions import parse_questions
from oncue.watch.record import Recorder, SpokenReply, Watched
from oncue.watch.run import WatchEvents, watch_source


def watch_video(
    source: str,
    questions: Sequence[str],
    policy: Policy[PolicySession],
    *,
    frame_interval_s: float = 1.0,
    frames_per_turn: int = 1,
    system: str | None = None,
    on_reply: Callable[[SpokenReply], None] = lambda _: None,
) -> Watched:
    """What `policy` says while it watches `source`, a file or an address (rtsp, http, ...).

    `questions` as of `oncue watch --ask`: `"12.5: What is on the table?"` is asked at 12.5 s, a
    text without a time at the start. `on_reply` is called with each reply as it is made. A model
    that runs here and has no `window` keeps everything as long as it has room; from then on its
    context is bounded at 16384 tokens. The policy stays open. Not for use inside an event loop.

    Raises InputError and VideoError for a source or questions that cannot be used, ConfigError for
    numbers out of range, BackendError where a server fails.
    """
    try:
        clock = Clock(frame_interval_s)
    except ValueError as error:
        raise ConfigError(f"frame_interval_s cannot be used: {error}") from error
    recorder = Recorder(parse_questions(questions), clock)
    started = time.perf_counter()
    frames = open_source(source, frame_interval_s)
    try:
        session = _session(policy, system)
    except BaseException:
        frames.close()
        raise
    load_s = time.perf_counter() - started
    stop = watch_source(
        frames,
        session,
        recorder,
        frames_per_turn=frames_per_turn,
        events=WatchEvents(replied=on_reply),
        disconnect=policy.disconnect,
    )
    return recorder.finish(
        source=source_name(source),
        model=policy.name,
        video_s=frames.duration_s,
        load_s=load_s,
        stop=stop.value,
    )


def _session(policy: Policy[PolicySession], system: str | None) -> PolicySession:
    if isinstance(policy, LocalPolicy) and policy.window is None:
        window = policy.engine.window_when_full(ENDLESS_CONTEXT_TOKENS)
        return policy.open(system=system, window=window)
    return policy.open(system=system)
