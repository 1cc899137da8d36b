"""What may be said from a few seeds: intervals, verdicts, targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oncue.study.claims import claims_of
from oncue.study.intervals import mean_of
from oncue.study.stream_claims import CLAIMS, targets_of
from oncue.study.studies import study_named
from oncue.train.rl.settings import GrpoConfig


def test_the_interval_of_three_values_is_students() -> None:
    mean = mean_of([10.0, 12.0, 14.0])
    assert mean is not None
    assert (mean.value, mean.num) == (12.0, 3)
    assert mean.half_width == pytest.approx(4.303 * 2 / 3**0.5)
    assert mean.low == pytest.approx(12 - 4.968, abs=1e-2)
    one = mean_of([None, 5.0])
    assert one is not None
    assert (one.value, one.half_width, one.num) == (5.0, None, 1)
    assert mean_of([None]) is None


def arms(
    sft: list[float | None], rl: list[float | None], **more: list[float | None]
) -> dict[str, Any]:
    return {
        "sft": {"seeds": list(range(len(sft))), "pauc": sft},
        "rl": {"seeds": list(range(len(rl))), "pauc": rl, **more},
    }


@pytest.mark.parametrize(
    ("sft", "rl", "verdict", "measured"),
    [
        ([40, 50, 45], [60, 71, 66], "seen", "45.0 -> 65.7"),
        ([60, 71, 66], [40, 50, 45], "reversed", "65.7 -> 45.0"),
        ([40, 50, 45], [70, 48, 45], "not seen", "45.0 -> 54.3"),
        ([40], [60], "not measured", "40.0 -> 60.0"),
        ([None, None], [60, 50], "not measured", "-"),
        ([], [], "not measured", "-"),
        ([40, 50, 45], [60, 71], "seen", "45.0 -> 65.5"),
    ],
)
def test_a_claim_is_seen_where_the_interval_of_the_differences_says_so(
    sft: list[float | None], rl: list[float | None], verdict: str, measured: str
) -> None:
    claim = claims_of(CLAIMS, arms(sft, rl), {})[0]
    assert (claim.verdict, claim.measured) == (verdict, measured)


def test_seeds_are_compared_with_their_own() -> None:
    """Differences within seeds are exact though the seeds differ widely; a mix-up of seeds would
    hide it."""
    made = arms([10, 40, 70], [12, 42, 72.1])
    assert claims_of(CLAIMS, made, {})[0].verdict == "seen"
    assert (
        claims_of(CLAIMS, made, {})[0].why
        == "difference +2.03 ± 0.14; 3 of 3 seeds go the paper's way"
    )
    made["rl"]["seeds"] = [2, 0, 1]
    assert claims_of(CLAIMS, made, {})[0].verdict == "not seen"


def test_a_trend_is_of_stretches_of_the_training() -> None:
    """Twenty steps: the start is steps 1 and 2, soon after are steps 4 to 7, the end are the last
    four."""

    def curve(seed: int, soon: float) -> dict[str, Any]:
        replies = [2.0] * 2 + [50.0] + [soon + 0.1 * seed] * 4 + [50.0] * 9 + [3.0 - 0.1 * seed] * 4
        return {
            "seed": seed,
            "replies_per_episode": replies,
            "reward_pauc": [0.5 + 0.01 * seed] * 20,
        }

    def found(soon: float) -> dict[str, Any]:
        curves = {"rl": [curve(seed, soon) for seed in range(3)]}
        return {
            claim.claim: claim
            for claim in claims_of(CLAIMS, {}, curves)
            if claim.source == "Fig. 5"
        }

    dip = found(1.0)
    assert [claim.verdict for claim in dip.values()] == ["seen", "seen", "not seen", "not seen"]
    assert dip["At first there are fewer replies"].measured == "2.00 -> 1.10"
    assert dip["then there are more"].measured == "1.10 -> 2.90"
    assert found(2.5)["At first there are fewer replies"].verdict == "reversed"


def test_targets_are_met_or_not_by_the_means() -> None:
    counts = {"num_duplicates": [0.0, 4.0, 0.0], "num_following": [5.0, 25.0, 0.0]}
    made = arms([40, 40, 40], [60, 60, 60], duplicates=[0.0, 16.0, 0.0], **counts)
    found = {
        target.target: target for target in targets_of(made, {"shapes": {"oracle_pauc": 60.0}})
    }
    assert found["PAUC of rl over sft, shapes"].met is True
    assert found["PAUC of rl over sft, shapes"].measured == "x 1.50 (40.00 -> 60.00)"
    assert (found["PAUC of rl, shapes"].asked, found["PAUC of rl, shapes"].met) == (">= 54", True)
    assert found["duplicates of rl, shapes, percent"].met is False
    assert found["duplicates of rl, shapes, percent"].measured == "5.33: 4 of 30"
    assert found["replies of no_in_span over rl"].met is None
    without = {target.target: target for target in targets_of(made, {})}
    assert (without["PAUC of rl, shapes"].asked, without["PAUC of rl, shapes"].met) == (
        ">= 70",
        False,
    )


def test_duplicates_are_counted_over_the_seeds_that_two_arms_share() -> None:
    made = arms(
        [40], [60, 60], duplicates=[10.0, 0.0], num_duplicates=[1.0, 0.0], num_following=[10.0, 9.0]
    )
    made["no_repetition"] = {
        "seeds": [0],
        "duplicates": [50.0],
        "num_duplicates": [6.0],
        "num_following": [12.0],
    }
    found = {target.target: target for target in targets_of(made, {})}
    assert (
        found["duplicates of no_repetition over rl"].measured
        == "x 5.00 (10.00 -> 50.00): 1 of 10 -> 6 of 12"
    )
    made["rl"] |= {"duplicates": [0.0, 0.0], "num_duplicates": [0.0, 0.0]}
    none_before = {target.target: target for target in targets_of(made, {})}[
        "duplicates of no_repetition over rl"
    ]
    assert (none_before.measured, none_before.met) == ("0 -> 50.00: 0 of 10 -> 6 of 12", True)
    made["rl"] |= {"num_following": [9.0, 9.0]}  # too few to know that there are none
    of_few = {target.target: target for target in targets_of(made, {})}[
        "duplicates of no_repetition over rl"
    ]
    assert (of_few.measured, of_few.met) == ("0 -> 50.00: 0 of 9 -> 6 of 12", None)


def test_a_study_of_other_arms_claims_and_promises_nothing() -> None:
    study = study_named("credit-mini")
    made = {arm.name: {"seeds": [0, 1], "pauc": [1.0, 2.0]} for arm in study.arms}
    assert claims_of(CLAIMS, made, {}) == []
    assert targets_of(made, {}) == []


def test_the_arms_of_the_study_of_credit_differ_in_their_credit_alone() -> None:
    study = study_named("credit-mini")
    start, *others = study.arms
    assert {arm.start for arm in others} == {start.name}
    settings = {arm.name: arm.config("mini-sft", 1) for arm in others}
    group = settings["group"]
    assert isinstance(group, GrpoConfig)
    found = {
        name: (s.credit, s.credit_discount, s.learning_rate / group.learning_rate)
        for name, s in settings.items()
    }
    assert found == {
        "group": ("group", 1.0, 1.0),
        "group_faster": ("group", 1.0, 2.0),
        "turns": ("return_to_go", 1.0, 1.0),
        "turns_08": ("return_to_go", 0.8, 1.0),
        "turns_05": ("return_to_go", 0.5, 1.0),
    }
    same = {"credit": "group", "credit_discount": 1.0, "learning_rate": group.learning_rate}
    assert all(replace(s, **same) == group for s in settings.values())
