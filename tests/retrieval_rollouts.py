"""Episodes of retrieval, written by hand: which frames are shown, and what is done."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    Episode,
    Evidence,
    Exchange,
    FrameBatch,
    PolicyTurn,
    Question,
    Retrieve,
    StopReason,
    Task,
)
from oncue.video.pool import spread

OPTIONS = ("A. red", "B. blue")


def batch(indices: Collection[int], *, of_pool: bool = True) -> FrameBatch:
    """Frames without pixels, a second apart."""
    kept = tuple(indices)
    pixels = np.zeros((len(kept), 0, 0, 3), np.uint8)
    times = np.array(kept, np.float64) + 0.5
    return FrameBatch(pixels, times, indices=kept if of_pool else ())


def episode_of(
    turns: Sequence[tuple[Collection[int], Action]],
    *,
    gold: Collection[int] | None = range(4),
    answer: str | None = "B",
    options: tuple[str, ...] = OPTIONS,
) -> Episode:
    """Each turn: the pool frames that it shows, and what the policy does. The pool has 64."""
    task = Task(
        "clip7",
        (Question("Which colour has the box?"),),
        duration_s=64.0,
        options=options,
        answer=answer,
        evidence=None if gold is None else Evidence(frozenset(gold), 64),
    )
    exchanges = tuple(
        Exchange(EnvTurn([batch(shown), "Which colour?"], 64.0), PolicyTurn(action))
        for shown, action in turns
    )
    ended = StopReason.ANSWERED if _answered(turns) else StopReason.OUT_OF_BUDGET
    return Episode(task, exchanges, ended)


def eight_of(action: Retrieve, task: Task) -> list[int]:  # noqa: ARG001 - a rule may look at it
    """At most 8 frames of a range: what an environment would show."""
    return spread(int(action.start), int(action.end), 8)


def _answered(turns: Sequence[tuple[Collection[int], Action]]) -> bool:
    return bool(turns) and isinstance(turns[-1][1], Answer)
