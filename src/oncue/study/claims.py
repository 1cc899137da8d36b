"""What the paper says, and what this world says to it.

A claim is seen where the 95 % interval of the differences between arms, seed by seed, lies on the
side that the paper reports; reversed where it lies on the other; and not seen where it holds zero.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oncue.study.intervals import Mean, mean_of

Verdict = Literal["seen", "not seen", "reversed", "not measured"]
Arms = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of the paper, where it is, its figures, what was measured here, and whether
    that agrees."""

    claim: str
    source: str
    paper: str
    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Difference:
    """That `measure` is higher (`sign` 1) or lower (-1) in `arm` than in `than`."""

    claim: str
    source: str
    paper: str
    arm: str
    than: str
    measure: str
    sign: int
    view: str = ""


@dataclass(frozen=True, slots=True)
class Trend:
    """That `measure` of the rollouts of `arm` is higher (`sign` 1) or lower (-1) in a later stretch
    of the training than in an earlier one. Stretches are shares of all steps."""

    claim: str
    source: str
    paper: str
    arm: str
    measure: str
    before: tuple[float, float]
    after: tuple[float, float]
    sign: int


def claims_of(
    claims: Sequence[Difference | Trend],
    arms: Arms,
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Claim]:
    """Those of the claims that are about arms of the study, with what was measured; arms that have
    no seed in common say nothing. `curves`: of each arm, one per seed (`results_of`)."""
    found = []
    for claim in claims:
        if isinstance(claim, Trend):
            if claim.arm in {*arms, *curves}:
                found.append(_weighed(claim, *_before_and_after(claim, curves.get(claim.arm, ()))))
        elif {claim.arm, claim.than.partition("@")[0]} <= arms.keys():
            mine, other = (
                by_seed(arms, name, claim.measure, claim.view) for name in (claim.arm, claim.than)
            )
            found.append(_weighed(claim, other, mine))
    return found


def _before_and_after(
    trend: Trend, curves: Sequence[Mapping[str, Any]]
) -> Iterator[dict[int, float]]:
    """By seed, the means over the two stretches."""
    for shares in (trend.before, trend.after):
        yield {curve["seed"]: _stretch(curve[trend.measure], shares) for curve in curves}


def _stretch(values: Sequence[float], shares: tuple[float, float]) -> float:
    """The mean over a stretch of the steps, at least one."""
    first = min(round(shares[0] * len(values)), len(values) - 1)
    return statistics.fmean(values[first : max(round(shares[1] * len(values)), first + 1)])


def _weighed(
    claim: Difference | Trend, before: Mapping[int, float], after: Mapping[int, float]
) -> Claim:
    """The claim that numbers by seed differ as it says."""
    seeds = sorted(before.keys() & after.keys())
    differences = [after[seed] - before[seed] for seed in seeds]
    difference = mean_of(differences)

    def weighed(measured: str, verdict: Verdict, why: str) -> Claim:
        return Claim(claim.claim, claim.source, claim.paper, measured, verdict, why)

    if difference is None:
        return weighed("-", "not measured", "the arms have not been run with the same seed")
    means = [mean_of([values[seed] for seed in seeds]) for values in (before, after)]
    measured = " -> ".join(_figure(mean.value) for mean in means if mean is not None)
    if difference.half_width is None:
        return weighed(measured, "not measured", "one seed says nothing of how sure this is")
    side = claim.sign * difference.value
    if side - difference.half_width > 0:
        verdict: Verdict = "seen"
    else:
        verdict = "reversed" if side + difference.half_width < 0 else "not seen"
    num_agree = sum(claim.sign * value > 0 for value in differences)
    why = (
        f"difference {_signed(difference)}; {num_agree} of {difference.num} "
        "seeds go the paper's way"
    )
    return weighed(measured, verdict, why)


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _signed(mean: Mean) -> str:
    sign = "+" if mean.value >= 0 else ""
    return f"{sign}{_figure(mean.value)} ± {_figure(mean.half_width or 0.0)}"


def by_seed(arms: Arms, name: str, measure: str, view: str) -> dict[int, float]:
    """The values of a measure by seed. `arm@view` names a view of an arm."""
    name, _, other_view = name.partition("@")
    arm = arms.get(name, {})
    measures = arm.get(other_view or view, {}) if other_view or view else arm
    values = measures.get(measure, [])
    return {
        seed: value
        for seed, value in zip(arm.get("seeds", []), values, strict=False)
        if value is not None
    }
