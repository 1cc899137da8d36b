"""What was asked of the study's models before they were trained, and whether it was met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from oncue.study.claims import Arms, by_seed


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked of a model. `met` None: not measured."""

    target: str
    asked: str
    measured: str
    met: bool | None


def pair(
    arms: Arms, arm: str, base: str, measure: str, view: str = ""
) -> tuple[float, float] | None:
    """The means of a measure in two arms over the seeds that both have; None for none."""
    mine, other = by_seed(arms, arm, measure, view), by_seed(arms, base, measure, view)
    seeds = mine.keys() & other.keys()
    if not seeds:
        return None
    return statistics.fmean(mine[seed] for seed in seeds), statistics.fmean(
        other[seed] for seed in seeds
    )


def bound(
    target: str, value: float | None, at_least: float | None = None, at_most: float | None = None
) -> Target:
    """Whether a number lies within a bound."""
    asked = f">= {at_least:.4g}" if at_least is not None else f"<= {at_most:.4g}"
    if value is None:
        return Target(target, asked, "-", None)
    met = value >= at_least if at_least is not None else value <= (at_most or 0.0)
    return Target(target, asked, f"{value:.2f}", met)


def ratio(
    target: str,
    pair: tuple[float, float] | None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Target:
    """A bound on the ratio of a pair, with both shown."""
    if pair is None or pair[1] == 0:
        asked = bound(target, None, at_least, at_most).asked
        if pair is None:
            return Target(target, f"x {asked}", "-", None)
        met = (at_least is not None) if pair[0] > 0 else None  # any number is many times nothing
        return Target(target, f"x {asked}", f"0 -> {pair[0]:.2f}", met)
    value, base = pair
    found = bound(target, value / base, at_least, at_most)
    return Target(
        target, f"x {found.asked}", f"x {found.measured} ({base:.2f} -> {value:.2f})", found.met
    )
