"""What a few seeds allow to be said: a mean, and the interval it lies in."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# 97.5 % points of Student's t by degrees of freedom; beyond them that of ten is used, which is a
# little too wide.
_T = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    10: 2.228,
}


@dataclass(frozen=True, slots=True)
class Mean:
    """`value`, and `half_width` of its 95 % interval (Student's t over `num` seeds); None for a
    single seed."""

    value: float
    half_width: float | None
    num: int

    @property
    def low(self) -> float:
        return -math.inf if self.half_width is None else self.value - self.half_width

    @property
    def high(self) -> float:
        return math.inf if self.half_width is None else self.value + self.half_width


def mean_of(values: Sequence[float | None]) -> Mean | None:
    """The mean of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) == 1:
        return Mean(known[0], None, 1)
    spread = statistics.stdev(known) / math.sqrt(len(known))
    return Mean(statistics.fmean(known), _T[min(len(known) - 1, max(_T))] * spread, len(known))
