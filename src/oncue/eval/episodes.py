"""Holding one dialogue to be scored: a source, a session, and the one loop."""

from __future__ import annotations

from collections.abc import Callable

from oncue.env.streaming import FILE_LOOKAHEAD, StreamingEnv, turns_to_read_ahead
from oncue.rollout import run_episode
from oncue.scoring.metrics import Transcript
from oncue.types import Exchange, FrameSource, PolicySession, Task


async def watch(
    source: FrameSource,
    session: PolicySession,
    task: Task,
    on_exchange: Callable[[Exchange], None] | None = None,
    *,
    frames_per_turn: int = 1,
) -> Transcript:
    """What `session` said about `source`, asked the questions of `task`; no frame is kept.

    The caller closes both. Raises what the source, the session or a question out of range raises.
    """
    turns_ahead = turns_to_read_ahead(FILE_LOOKAHEAD)
    env = StreamingEnv(source, task.questions, frames_per_turn, turns_ahead=turns_ahead)
    try:
        episode = await run_episode(env, session, task, on_exchange, keep_frames=False)
    finally:
        await env.close()
    return Transcript.of(episode)
