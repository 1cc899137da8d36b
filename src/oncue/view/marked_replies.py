"""What the page shows of a member by the proactive reward alone: the marks of its replies, and the
staircase whose area is PAUC."""

from __future__ import annotations

from typing import Any

from oncue.rewards.proactive import MAX_SCORE, RewardSettings, pauc_points, with_predecessors
from oncue.scoring.pauc import START_MARK, Point, pauc
from oncue.scoring.score import Unscored
from oncue.types import GoldTurn
from oncue.view.stored import Member


def marked_replies(member: Member, settings: RewardSettings) -> list[dict[str, Any]]:
    """Each reply with what a judge gave it: `mark` is its best over the spans it lies in, None
    without one."""
    coverage, repeated = {}, {}
    if member.judgements is not None:
        coverage, repeated = dict(member.judgements.coverage), dict(member.judgements.repeated)
    values = []
    for reply, before in with_predecessors(member.rollout, settings):
        marks = [
            mark
            for (_, time_s), mark in coverage.items()
            if time_s == reply.time_s and isinstance(mark, int)
        ]
        values.append(
            {
                "time_s": reply.time_s,
                "text": reply.text,
                "inside": any(reply.time_s in gold.span for gold in member.rollout.gold),
                "mark": max(marks, default=None),
                "repeated": reply.text in before or repeated.get(reply.time_s) is True,
                "same_words": reply.text in before,
            }
        )
    return values


def stairs_of(member: Member, settings: RewardSettings) -> list[dict[str, Any]]:
    """The staircase of each gold turn; none where no judgements were stored."""
    return [
        _stairs(found, member.rollout.gold[i], settings) | {"gold": i}
        for i, found in _points(member, settings)
    ]


def _points(member: Member, settings: RewardSettings) -> list[tuple[int, list[Point | Unscored]]]:
    if member.judgements is None:
        return []
    return list(pauc_points(member.rollout, member.judgements, settings).items())


def _stairs(
    found: list[Point | Unscored], gold: GoldTurn, settings: RewardSettings
) -> dict[str, Any]:
    """The PAUC of a gold turn and the staircase (time, mark) it is the area of: a reply counts from
    (1 - omega) times its delay."""
    points = sorted((p for p in found if isinstance(p, Point)), key=lambda p: (p.offset_s, p.mark))
    steps = [(gold.span.start_s, START_MARK)]
    steps += [
        (gold.span.start_s + p.offset_s * (1 - settings.omega), float(p.mark)) for p in points
    ]
    return {
        "pauc": pauc(points, gold.span.duration_s, max_score=MAX_SCORE, omega=settings.omega),
        "steps": [[round(time_s, 3), mark] for time_s, mark in steps],
    }
