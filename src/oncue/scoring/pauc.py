"""PAUC: how well, and how early, the replies of one gold span tell what was due (ProactiveVideoQA,
arXiv 2507.09313).

The area under the judge's mark over the span, as a share of the best possible. Before the first
reply the mark is 0.5, so that a useless reply is worse than silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oncue.errors import InputError

START_MARK = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """A reply `offset_s` seconds after its gold span began, and the judge's mark for what had been
    said by then."""

    offset_s: float
    mark: float


def pauc(
    points: Iterable[Point], window_s: float, max_score: float = 2, omega: float = 0.5
) -> float:
    """The PAUC of one gold turn, in [0, 1]. 0.5 / `max_score` without points, whatever omega.

    `points` in any order, offsets in [0, `window_s`], marks in [0, `max_score`]; of replies at the
    same instant the best mark counts. `omega` in [0, 1]: 0 is equation 1 of the paper (a perfect
    reply at the very end earns what silence does), 1 ignores time, 0.5 is the headline of the
    benchmark.

    Raises InputError for a window of no width, or anything out of its range.
    """
    if not (math.isfinite(window_s) and window_s > 0):
        raise InputError(
            f"the reply span must be wider than 0 s, got {window_s} s; correct or drop that gold "
            "turn"
        )
    if not 0 <= omega <= 1:
        raise InputError(f"omega must lie in [0, 1], got {omega}")
    if max_score <= START_MARK:
        raise InputError(
            f"max_score must be more than {START_MARK}, the mark before the first reply; got "
            f"{max_score}"
        )
    area, at_s, mark = 0.0, 0.0, START_MARK
    for point in sorted(points, key=lambda p: (p.offset_s, p.mark)):
        if not (0 <= point.offset_s <= window_s and 0 <= point.mark <= max_score):
            raise InputError(
                f"{point} lies outside a span of {window_s} s with marks from 0 to {max_score}"
            )
        shown_s = point.offset_s * (1 - omega)
        area += (shown_s - at_s) * mark
        at_s, mark = shown_s, point.mark
    return _share(area + (window_s - at_s) * mark, window_s * max_score)


def _share(area: float, best: float) -> float:
    """`area / best`, without the last-digit overshoot of a sum of products."""
    return min(max(area / best, 0.0), 1.0)


def late_rule(points: Sequence[Point], related_end_s: float) -> tuple[Point, ...]:
    """`points` in time order without those that come after the event and are worse than what had
    been said during it.

    `related_end_s` is the end of the event, as an offset like those of the points. The remembered
    mark is that of the last point at or before it, 0 if there is none (then nothing goes). Not in
    the paper; part of the released scorer and of its ports, so needed for equal numbers.
    """
    kept: list[Point] = []
    remembered = 0.0
    for point in sorted(points, key=lambda p: (p.offset_s, p.mark)):
        if point.offset_s <= related_end_s:
            remembered = point.mark
        elif point.mark < remembered:
            continue
        kept.append(point)
    return tuple(kept)
