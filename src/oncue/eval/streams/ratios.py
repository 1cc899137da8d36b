"""Sums, shares and F1 as scorers count them, 0 where nothing can be divided, and what to say of
replies that could not be graded."""

from __future__ import annotations

from collections.abc import Iterable

from oncue.eval.streams.benchmark import BySubset
from oncue.eval.table import percent


def ratio(part: float, whole: float) -> float:
    """`part` / `whole`; 0 where `whole` is 0."""
    return part / whole if whole else 0.0


def f1_of(precision: float, recall: float) -> float:
    """The harmonic mean; 0 where both are 0."""
    return ratio(2 * precision * recall, precision + recall)


def mean_of_percents(values: Iterable[float | None]) -> float | None:
    """The mean of the percentages that are not None, each rounded to four decimals as a share, as
    scorers do that average rounded shares; None where none is known."""
    shares = [round(value / 100, 4) for value in values if value is not None]
    return percent(sum(shares) / len(shares)) if shares else None


def pooled_terms(sums: BySubset) -> dict[str, float]:
    """The sums over all subsets."""
    total: dict[str, float] = {}
    for terms in sums.values():
        for name, value in terms.items():
            total[name] = total.get(name, 0.0) + value
    return total


def ungraded(num: int) -> list[str]:
    """The remark on replies that no judge graded; none where there are none."""
    if not num:
        return []
    return [f"{num} {'reply' if num == 1 else 'replies'} could not be graded, and counted as wrong"]
