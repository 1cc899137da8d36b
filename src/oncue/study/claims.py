"""What the paper says, and what this world says to it.

A claim is seen where the 95 % interval of the differences between arms, seed by seed, lies on the
side that the paper reports; reversed where it lies on the other; and not seen where it holds zero.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
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
class _Difference:
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
class _Trend:
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


_START, _SOON, _END = (0.0, 0.1), (0.15, 0.35), (0.8, 1.0)
_TRENDS = (
    _Trend(
        "At first there are fewer replies",
        "Fig. 5",
        "steps 0 to 180 of 489",
        "rl",
        "replies_per_episode",
        _START,
        _SOON,
        -1,
    ),
    _Trend(
        "then there are more",
        "Fig. 5",
        "steps 180 to 450",
        "rl",
        "replies_per_episode",
        _SOON,
        _END,
        1,
    ),
    _Trend(
        "At first PAUC falls",
        "Fig. 5",
        "steps 0 to 180 of 489",
        "rl",
        "reward_pauc",
        _START,
        _SOON,
        -1,
    ),
    _Trend("then it grows", "Fig. 5", "steps 180 to 450", "rl", "reward_pauc", _SOON, _END, 1),
)
_CLAIMS = (
    _Difference(
        "Reinforcement learning raises PAUC over supervised training",
        "Table 2",
        "37.6 -> 53.3 (WEB), 26.4 -> 33.6 (EGO)",
        "rl",
        "sft",
        "pauc",
        1,
    ),
    _Difference(
        "It does so on another kind of video, too",
        "Table 2",
        "26.4 -> 33.6 (EGO)",
        "rl",
        "sft",
        "pauc",
        1,
        "footage",
    ),
    _Difference(
        "Without the repetition term more replies are duplicates",
        "Table 6",
        "4.2 -> 17.3 (WEB), 8.1 -> 31.9 (EGO)",
        "no_repetition",
        "rl",
        "duplicates",
        1,
    ),
    _Difference(
        "The same, where replies are sampled as in training",
        "Table 6",
        "4.2 -> 17.3 (WEB), 8.1 -> 31.9 (EGO)",
        "no_repetition",
        "rl",
        "duplicates",
        1,
        "shapes-sampled",
    ),
    _Difference(
        "Without the repetition term there are more replies",
        "Table 6",
        "3.3 -> 4.9 (WEB), 3.5 -> 8.0 (EGO)",
        "no_repetition",
        "rl",
        "num_replies",
        1,
    ),
    _Difference(
        "Without the in-span term there are more replies",
        "Table 6",
        "3.3 -> 8.4 (WEB); on EGO nearly every turn",
        "no_in_span",
        "rl",
        "num_replies",
        1,
    ),
    _Difference(
        "Without the in-span term PAUC is higher, bought with chatter",
        "Table 6",
        "53.3 -> 62.7 (WEB)",
        "no_in_span",
        "rl",
        "pauc",
        1,
    ),
    _Difference(
        "Without the prefix term there are fewer replies",
        "Table 6",
        "3.5 -> 0.6 (EGO), 3.3 -> 3.1 (WEB)",
        "no_prefix",
        "rl",
        "num_replies",
        -1,
    ),
    _Difference(
        "More frames per second at inference give a higher PAUC",
        "Table 7",
        "44.2 at 2 s -> 53.3 at 1 s (WEB)",
        "rl",
        "rl@shapes-2s",
        "pauc",
        1,
    ),
    _Difference(
        "Taught with a frame every 2 s, it gains more from reinforcement learning at 2 s than at 1 "
        "s, watching at 1 s",
        "Table 7",
        "47.0 -> 53.3 (WEB), 34.7 -> 33.6 (EGO)",
        "rl_2s",
        "sft_2s_rl_1s",
        "pauc",
        1,
    ),
)


def claims_of(arms: Arms, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    """Every claim about arms of the study with what was measured; arms that have no seed in common
    say nothing. `curves`: of each arm, one per seed (`results_of`)."""
    found = []
    for claim in _CLAIMS:
        if not {claim.arm, claim.than.partition("@")[0]} <= arms.keys():
            continue
        mine = by_seed(arms, claim.arm, claim.measure, claim.view)
        found.append(_weighed(claim, by_seed(arms, claim.than, claim.measure, claim.view), mine))
    for trend in _TRENDS if "rl" in {*arms, *curves} else ():
        before, after = (
            {
                curve["seed"]: _stretch(curve[trend.measure], shares)
                for curve in curves.get(trend.arm, ())
            }
            for shares in (trend.before, trend.after)
        )
        found.append(_weighed(trend, before, after))
    return found


def _stretch(values: Sequence[float], shares: tuple[float, float]) -> float:
    """The mean over a stretch of the steps, at least one."""
    first = min(round(shares[0] * len(values)), len(values) - 1)
    return statistics.fmean(values[first : max(round(shares[1] * len(values)), first + 1)])


def _weighed(
    claim: _Difference | _Trend, before: Mapping[int, float], after: Mapping[int, float]
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
