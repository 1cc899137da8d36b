"""Small pools to look into, and what is shown to a policy that looks into them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from oncue.env.retrieval import RetrievalEnv
from oncue.render.base import shape_of
from oncue.render.markup import FRAME_TEXT, marked
from oncue.types import Action, EnvTurn, FrameBatch, Question, StopReason, Task
from oncue.video.pool import FramePool
from tiny_model import random_turn

RETRIEVAL_TASK = Task(
    "box", (Question("What colour is the box?"),), options=("red", "blue"), answer="B"
)


def pool_of(num_frames: int = 8, duration_s: float = 8.0) -> FramePool:
    """A pool of different pictures of six vision tokens each."""
    return FramePool(random_turn(np.random.default_rng(0), 0.0, num_frames).frames, duration_s)


class FakeZoom:
    """Pictures twice as wide as those of the pool, one for each frame asked for, `num_missing`
    left out; it keeps what it was asked."""

    def __init__(self, num_missing: int = 0) -> None:
        self.asked: list[tuple[float, float, int]] = []
        self._num_missing = num_missing

    def __call__(self, start_s: float, end_s: float, num_frames: int) -> FrameBatch:
        self.asked.append((start_s, end_s, num_frames))
        num_given = max(1, num_frames - self._num_missing)
        frames = random_turn(np.random.default_rng(1), start_s, num_given).frames
        return FrameBatch(frames.pixels.repeat(2, axis=2), frames.pts_s)


def played(env: RetrievalEnv, actions: Sequence[Action]) -> list[EnvTurn | StopReason]:
    """What `env` shows first, and after each of `actions`."""

    async def go() -> list[EnvTurn | StopReason]:
        return [await env.open(), *[await env.step(action) for action in actions]]

    return asyncio.run(go())


def shown_turns(env: RetrievalEnv, actions: Sequence[Action]) -> list[EnvTurn]:
    """The same where it goes on to the end."""
    found = played(env, actions)
    turns = [turn for turn in found if isinstance(turn, EnvTurn)]
    assert len(turns) == len(found)
    return turns


def prompt(turn: EnvTurn) -> str:
    """A turn as it is written to the policy."""
    return "".join(FRAME_TEXT if part is None else part for part in marked(shape_of(turn)))
