"""What was asked of the study's models before they were trained, and whether it was met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oncue.study.claims import Arms, by_seed
from oncue.study.intervals import mean_of

_FEW = 10  # replies that follow another: the paper, too, gives no share of fewer


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked of a model. `met` None: not measured."""

    target: str
    asked: str
    measured: str
    met: bool | None


def targets_of(arms: Arms, references: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """What was asked of `mmduet2-mini` before it was run, by the means over seeds; ratios over
    those both arms have. Nothing was asked of a study without its arms."""
    if "rl" not in arms:
        return []
    oracle = references.get("shapes", {}).get("oracle_pauc")
    least = 70.0 if oracle is None else min(70.0, 0.9 * oracle)
    pauc, duplicates = (
        mean_of(list(by_seed(arms, "rl", measure, "").values()))
        for measure in ("pauc", "duplicates")
    )
    return [
        _ratio("PAUC of rl over sft, shapes", _pair(arms, "rl", "sft", "pauc"), at_least=1.4),
        _bound("PAUC of rl, shapes", pauc.value if pauc else None, at_least=least),
        _ratio(
            "PAUC of rl over sft, footage",
            _pair(arms, "rl", "sft", "pauc", "footage"),
            at_least=1.25,
        ),
        _counted(
            _bound(
                "duplicates of rl, shapes, percent",
                duplicates.value if duplicates else None,
                at_most=5.0,
            ),
            arms,
            ("rl",),
        ),
        _ratio(
            "first-reply delay of rl over sft, shapes, greedy",
            _pair(arms, "rl", "sft", "first_reply_delay_s"),
            at_most=0.5,
        ),
        _ratio(
            "first-reply delay of rl over sft, shapes, sampled",
            _pair(arms, "rl", "sft", "first_reply_delay_s", "shapes-sampled"),
            at_most=0.5,
        ),
        _counted(
            _ratio(
                "duplicates of no_repetition over rl",
                _pair(arms, "no_repetition", "rl", "duplicates"),
                at_least=3,
            ),
            arms,
            ("rl", "no_repetition"),
        ),
        _counted(
            _ratio(
                "duplicates of no_repetition over rl, sampled",
                _pair(arms, "no_repetition", "rl", "duplicates", "shapes-sampled"),
                at_least=3,
            ),
            arms,
            ("rl", "no_repetition"),
            "shapes-sampled",
        ),
        _ratio(
            "replies of no_in_span over rl",
            _pair(arms, "no_in_span", "rl", "num_replies"),
            at_least=2,
        ),
    ]


def _counted(target: Target, arms: Arms, names: Sequence[str], view: str = "") -> Target:
    """A target of duplicates, with how many they are of how many replies that follow another: in
    all of the seeds that the arms of these names share. Of fewer than `_FEW` in an arm nothing is
    known."""
    if target.met is None:
        return target
    numbers = [
        [by_seed(arms, name, measure, view) for measure in ("num_duplicates", "num_following")]
        for name in names
    ]
    seeds = set.intersection(*(set(of_seeds) for of_arm in numbers for of_seeds in of_arm))
    sums = [[sum(of_seeds[seed] for seed in seeds) for of_seeds in of_arm] for of_arm in numbers]
    counts = " -> ".join(f"{num:.0f} of {num_following:.0f}" for num, num_following in sums)
    few = any(num_following < _FEW for _, num_following in sums)
    return replace(target, measured=f"{target.measured}: {counts}", met=None if few else target.met)


def _pair(
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


def _bound(
    target: str, value: float | None, at_least: float | None = None, at_most: float | None = None
) -> Target:
    asked = f">= {at_least:.4g}" if at_least is not None else f"<= {at_most:.4g}"
    if value is None:
        return Target(target, asked, "-", None)
    met = value >= at_least if at_least is not None else value <= (at_most or 0.0)
    return Target(target, asked, f"{value:.2f}", met)


def _ratio(
    target: str,
    pair: tuple[float, float] | None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Target:
    """A bound on the ratio of a pair, with both shown."""
    if pair is None or pair[1] == 0:
        asked = _bound(target, None, at_least, at_most).asked
        if pair is None:
            return Target(target, f"x {asked}", "-", None)
        met = (at_least is not None) if pair[0] > 0 else None  # any number is many times nothing
        return Target(target, f"x {asked}", f"0 -> {pair[0]:.2f}", met)
    value, base = pair
    bound = _bound(target, value / base, at_least, at_most)
    return Target(
        target, f"x {bound.asked}", f"x {bound.measured} ({base:.2f} -> {value:.2f})", bound.met
    )
