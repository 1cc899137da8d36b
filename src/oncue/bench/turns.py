"""What the models are shown, and how long each answer takes: the one loop (`run_episode`) with a
clock in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from oncue.engine.session import EngineSession
from oncue.rollout import run_episode
from oncue.types import (
    Action,
    EnvTurn,
    FrameBatch,
    PolicySession,
    PolicyTurn,
    Silence,
    StopReason,
    Task,
)

SMALL_PX = (112, 112)  # height and width; 16 vision tokens
QUESTION = "Tell me whenever something moves."

_GIVEN_AT_ONCE = 20  # turns
_BLOCKS = 8  # blocks of one colour per side of a frame


@dataclass(frozen=True, slots=True)
class Held:
    """A stretch of dialogue: the answers, and the wall time of each in milliseconds."""

    answers: tuple[PolicyTurn, ...]
    answer_ms: tuple[float, ...]

    @property
    def num_silent(self) -> int:
        return sum(isinstance(answer.action, Silence) for answer in self.answers)


class TimedTurns:
    """A `VideoEnv` that shows the given turns, and keeps how long each answer took from being shown
    to being known."""

    def __init__(self, turns: Iterable[EnvTurn]) -> None:
        self._turns = iter(turns)
        self._shown_s = 0.0
        self.answer_ms: list[float] = []

    async def open(self) -> EnvTurn | StopReason:
        return self._show()

    async def step(self, action: Action) -> EnvTurn | StopReason:  # noqa: ARG002 - what is said changes nothing
        self.answer_ms.append(1000 * (time.perf_counter() - self._shown_s))
        return self._show()

    def _show(self) -> EnvTurn | StopReason:
        turn = next(self._turns, StopReason.SOURCE_ENDED)
        self._shown_s = time.perf_counter()
        return turn


async def hold(session: PolicySession, turns: Iterable[EnvTurn]) -> Held:
    """Show the turns one after the other."""
    env = TimedTurns(turns)
    episode = await run_episode(env, session, Task("bench"), keep_frames=False)
    return Held(tuple(exchange.acted for exchange in episode.exchanges), tuple(env.answer_ms))


async def give(session: EngineSession, turns: Sequence[EnvTurn]) -> None:
    """Let the session have been shown these turns, and have been silent, some turns per forward."""
    for first in range(0, len(turns), _GIVEN_AT_ONCE):
        for turn in turns[first : first + _GIVEN_AT_ONCE]:
            session.replay(turn, Silence())
        await session.fill()


async def hold_all(
    sessions: Sequence[PolicySession], videos: Sequence[Iterable[EnvTurn]]
) -> list[Held]:
    """Show each session its own turns, all of them at once."""
    return list(
        await asyncio.gather(*(hold(s, turns) for s, turns in zip(sessions, videos, strict=True)))
    )


def random_frame(random: np.random.Generator, size_px: tuple[int, int] = SMALL_PX) -> np.ndarray:
    """(H, W, 3) uint8: blocks of random colours."""
    height, width = size_px
    blocks = random.integers(0, 256, (_BLOCKS, _BLOCKS, 3), dtype=np.uint8)
    return blocks.repeat(-(-height // _BLOCKS), axis=0)[:height].repeat(
        -(-width // _BLOCKS), axis=1
    )[:, :width]


def video(seed: int, size_px: tuple[int, int] = SMALL_PX) -> Iterator[EnvTurn]:
    """Without end: turns of one frame each, a second apart; a question comes with the first."""
    random = np.random.default_rng(seed)
    for k in count():
        yield one_turn(random_frame(random, size_px)[None], k + 1.0, "" if k else QUESTION)


def lively_video(seed: int) -> Iterator[EnvTurn]:
    """Without end: mostly one small frame a turn, sometimes two of another size or none, now and
    then a question."""
    random = np.random.default_rng(seed)
    for k in count():
        num_frames = int(random.choice((0, 1, 2), p=(0.1, 0.7, 0.2)))
        frames = [
            random_frame(random, (56, 84) if num_frames == 2 else SMALL_PX)
            for _ in range(num_frames)
        ]
        asks = k == 0 or not frames or random.random() < 0.1
        pixels = np.stack(frames) if frames else np.zeros((0, 0, 0, 3), np.uint8)
        yield one_turn(pixels, k + 1.0, f"{QUESTION} {random.integers(100)}" if asks else "")


def one_turn(pixels: np.ndarray, clock_s: float, text: str = "") -> EnvTurn:
    """A turn at `clock_s` that shows `pixels` (F, H, W, 3)."""
    return EnvTurn(FrameBatch(pixels, np.full(len(pixels), clock_s)), clock_s, text)
