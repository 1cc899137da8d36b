"""Shares of things counted, such as the accuracy of answers, with the interval they lie in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959964  # 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Proportion:
    """`num` of `total`, and its 95 % interval (Wilson's score interval), from 0 to 1; None of
    nothing.

    The interval takes the things counted for independent of each other.
    """

    num: int
    total: int

    @property
    def value(self) -> float | None:
        return self.num / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its lower and its upper end; it is never empty, also for none and for all."""
        if not self.total:
            return None
        share, spread = self.num / self.total, _Z**2 / self.total
        middle = share + spread / 2
        half = _Z * math.sqrt(share * (1 - share) / self.total + spread / (4 * self.total))
        low, high = ((middle + sign * half) / (1 + spread) for sign in (-1, 1))
        return max(0.0, low), min(1.0, high)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much more often one of two is right on the same questions: `value`, and its 95 % interval
    (Agresti and Min, 2005: Wald's with half a question more of each kind), from -1 to 1."""

    value: float
    interval: tuple[float, float]


def paired_difference(ours: Sequence[bool], others: Sequence[bool]) -> PairedDifference | None:
    """The share that `ours` have right minus that of `others`, question by question; None for no
    questions. Raises ValueError for lists of different lengths."""
    pairs = list(zip(ours, others, strict=True))
    if not pairs:
        return None
    num = len(pairs)
    won, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    more, either = num + 2, won + lost + 1
    middle = (won - lost) / more
    half = _Z * math.sqrt(either - (won - lost) ** 2 / more) / more
    interval = (max(-1.0, middle - half), min(1.0, middle + half))
    return PairedDifference((won - lost) / num, interval)
