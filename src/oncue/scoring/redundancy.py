"""The share of replies that add nothing new (reply duplicate proportion).

An exact duplicate counts without asking the judge; a failed call leaves the denominator. Only
replies that have a predecessor can repeat one, so only they are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oncue.aio import gathered
from oncue.scoring.judge import Judge
from oncue.scoring.score import Unscored
from oncue.scoring.spans import replies_in
from oncue.types import TimedReply, TimeSpan

Scope = Literal["within_turn", "whole_dialogue"]


@dataclass(frozen=True, slots=True)
class DuplicateCount:
    """`num_duplicate` of `num_decided` replies with a predecessor repeat it; `num_unscored` more
    were not decided."""

    num_duplicate: int = 0
    num_decided: int = 0
    num_unscored: int = 0

    def __add__(self, other: DuplicateCount) -> DuplicateCount:
        return DuplicateCount(
            self.num_duplicate + other.num_duplicate,
            self.num_decided + other.num_decided,
            self.num_unscored + other.num_unscored,
        )

    @property
    def share(self) -> float | None:
        """In [0, 1]; None where no reply had a predecessor."""
        return self.num_duplicate / self.num_decided if self.num_decided else None


# Whether a reply says nothing new: given are the number of its gold span (None: of the whole
# dialogue), the reply, and what was said there before
RepeatsOf = Callable[
    [int | None, TimedReply, tuple[str, ...]], Coroutine[Any, Any, bool | Unscored]
]


async def count_duplicates(
    replies: Iterable[TimedReply],
    spans: Sequence[TimeSpan],
    judge: Judge,
    scope: Scope = "within_turn",
) -> DuplicateCount:
    """The duplicates of one dialogue, as `judge` decides; `scope` as of `count_repeats`."""

    async def repeats(_: int | None, reply: TimedReply, before: tuple[str, ...]) -> bool | Unscored:
        return await judge.repeats(before, reply.text.strip())

    return await count_repeats(replies, spans, repeats, scope)


async def count_repeats(
    replies: Iterable[TimedReply],
    spans: Sequence[TimeSpan],
    repeats: RepeatsOf,
    scope: Scope = "within_turn",
) -> DuplicateCount:
    """The duplicates of one dialogue.

    `within_turn` (evaluation): the predecessors of a reply are the earlier replies of the same gold
    span, and a reply that lies in two spans counts in each. `whole_dialogue` (as the RL reward):
    all earlier replies, `spans` unused.
    """
    ordered = sorted(replies, key=lambda r: r.time_s)
    groups: list[tuple[int | None, Sequence[TimedReply]]] = [(None, ordered)]
    if scope == "within_turn":
        groups = [(number, replies_in(ordered, span)) for number, span in enumerate(spans)]
    counts = await gathered(
        [_count_group(number, group, repeats) for number, group in groups if len(group) > 1]
    )
    return sum(counts, DuplicateCount())


async def _count_group(
    number: int | None, replies: Sequence[TimedReply], repeats: RepeatsOf
) -> DuplicateCount:
    kept: list[str] = []
    num_exact = 0
    calls = []
    for reply in replies:
        text = reply.text.strip()
        if text in kept:
            num_exact += 1
            continue
        if kept:
            calls.append(repeats(number, reply, tuple(kept)))
        kept.append(text)
    verdicts = await gathered(calls)
    decided = [verdict for verdict in verdicts if not isinstance(verdict, Unscored)]
    return DuplicateCount(
        num_exact + sum(decided), num_exact + len(decided), len(verdicts) - len(decided)
    )
