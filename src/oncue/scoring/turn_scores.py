"""The score of one gold turn, by steps 1 to 6 of ProactiveVideoQA (arXiv 2507.09313).

A reply counts when it lies in the closed span of the turn, and one whose text equals an earlier one
of the turn is skipped. Each kept reply gets a mark for all that was said by then. The late rule
takes marks out again, and PAUC is the area under the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.aio import gathered
from oncue.scoring.pauc import Point, late_rule, pauc
from oncue.scoring.score import Unscored
from oncue.scoring.spans import distinct, replies_in
from oncue.types import GoldTurn, TimedReply

# The mark for what was said by a reply: given are the reply and the texts so far, its own the last
MarkOf = Callable[[TimedReply, Sequence[str]], Coroutine[Any, Any, int | Unscored]]


@dataclass(frozen=True, slots=True)
class MarkedReply:
    """A kept reply of a gold span. `late` when the late rule took its mark out of the area."""

    reply: TimedReply
    mark: int | Unscored
    late: bool = False


@dataclass(frozen=True, slots=True)
class TurnScore:
    """One gold turn. `pauc` has one value per omega; `delay_s` is from the event being visible to
    the first reply."""

    task_id: str
    gold: GoldTurn
    replies: tuple[MarkedReply, ...]
    pauc: tuple[float, ...]
    delay_s: float | None

    @property
    def num_unscored(self) -> int:
        return sum(isinstance(r.mark, Unscored) for r in self.replies)


async def score_turn(
    task_id: str,
    gold: GoldTurn,
    replies: Sequence[TimedReply],
    mark_of: MarkOf,
    max_score: int,
    omegas: Sequence[float],
) -> TurnScore:
    """The score of `gold` for all `replies` of its dialogue, all marks asked for at once.

    Replies without a mark are left out of the area. Raises InputError for a span without width, and
    for a mark above `max_score`.
    """
    kept = distinct(replies_in(replies, gold.span))
    texts = [reply.text.strip() for reply in kept]
    marks = await gathered(
        [mark_of(reply, texts[: number + 1]) for number, reply in enumerate(kept)]
    )
    start_s = gold.span.start_s
    points = [
        Point(r.time_s - start_s, m)
        for r, m in zip(kept, marks, strict=True)
        if not isinstance(m, Unscored)
    ]
    counted = tuple(points)
    if gold.related_span is not None:
        counted = late_rule(points, gold.related_span.end_s - start_s)
    marked = tuple(
        MarkedReply(
            r, m, late=not isinstance(m, Unscored) and Point(r.time_s - start_s, m) not in counted
        )
        for r, m in zip(kept, marks, strict=True)
    )
    visible_s = start_s if gold.visible_s is None else gold.visible_s
    return TurnScore(
        task_id,
        gold,
        marked,
        tuple(pauc(counted, gold.span.duration_s, max_score, omega) for omega in omegas),
        kept[0].time_s - visible_s if kept else None,
    )
