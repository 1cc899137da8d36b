"""Laws of credit: every turn that acted gets some, nothing else does, and turns are compared with
the same turn."""

from __future__ import annotations

import numpy as np
import pytest

from oncue.errors import ConfigError
from oncue.render.trace import TokenTrace, TraceSegment
from oncue.scoring.score import Score
from oncue.train.rl.advantage import (
    GroupCredit,
    ReturnToGoCredit,
    group_advantages,
    make_credit,
    num_turns,
    of_tokens,
    of_turns,
    returns_to_go,
)
from oncue.train.rl.settings import GrpoConfig

ROOT_HALF = 0.5**0.5  # the advantage of the better of two


def trace(*segments: list[int]) -> TokenTrace:
    """A trace whose places were chosen by these turns (-1: context)."""
    return TokenTrace(
        tuple(
            TraceSegment(
                np.arange(len(turns)),
                np.zeros((3, len(turns)), np.int64),
                np.arange(len(turns)),
                np.array(turns, np.int64),
                np.zeros(len(turns), np.float32),
            )
            for turns in segments
        )
    )


def gained(advantages: object) -> list[list[list[float]]]:
    return [
        [segment.astype(float).round(4).tolist() for segment in member] for member in advantages
    ]  # type: ignore[attr-defined]


def test_group_gives_every_choice_the_advantage_of_the_episode_and_context_none() -> None:
    traces = [trace([-1, 1, 1, -1, 2]), trace([-1, 1], [-1, -1, 2, 2])]
    advantages = GroupCredit()([Score((0.0, 0.0, 3.0)), Score((0.0, 1.0, 0.0))], traces)
    up = round(ROOT_HALF, 4)
    assert gained(advantages) == [[[0, up, up, 0, up]], [[0, -up], [0, 0, -up, -up]]]
    total = Score(
        (0.0, 1.0), reward=5.0
    )  # the reward counts, not the sum of values above doing nothing
    better = GroupCredit(scale_by_deviation=False)(
        [total, Score((4.0,))], [trace([-1, 0]), trace([-1, 0])]
    )
    assert gained(better) == [[[0, 0.5]], [[0, -0.5]]]


def test_return_to_go_compares_each_turn_with_the_same_turn_of_the_others() -> None:
    traces = [
        trace([-1, 0, 1, 1, 2]),
        trace([-1, 0, 1, 2]),
        trace([-1, 0, 1]),
    ]  # the last one has no turn 2
    scores = [Score((0.0, 2.0, 1.0)), Score((0.0, 0.0, 4.0)), Score((2.0, 4.0, 0.0))]
    advantages = ReturnToGoCredit(scale_by_deviation=False)(scores, traces)
    # returns 3 3 1 / 4 4 4 / 6 4 -; means 13/3, 11/3, 2.5
    assert [segment.tolist() for (segment,) in advantages] == [
        pytest.approx([0, 3 - 13 / 3, 3 - 11 / 3, 3 - 11 / 3, -1.5]),
        pytest.approx([0, 4 - 13 / 3, 4 - 11 / 3, 1.5]),
        pytest.approx([0, 6 - 13 / 3, 4 - 11 / 3]),
    ]
    scaled = ReturnToGoCredit()(scores, traces)
    assert scaled[0][0][4] == pytest.approx(-ROOT_HALF, abs=1e-4)  # of the two that have turn 2


def test_a_turn_that_only_one_member_has_gets_nothing_and_one_that_did_not_act_takes_no_part() -> (
    None
):
    traces = [trace([-1, 0, 1]), trace([-1, 0]), trace([-1, 0])]
    scores = [Score((0.0, 9.0)), Score((1.0, 0.0)), Score((2.0, 0.0))]
    advantages = ReturnToGoCredit(scale_by_deviation=False)(scores, traces)
    assert gained(advantages) == [[[0, 5, 0]], [[0, -3]], [[0, -2]]]
    skipped = [
        trace([-1, 0, 1]),
        trace([-1, 1]),
        trace([-1, 0, 1]),
    ]  # turn 0 of the second is history
    advantages = ReturnToGoCredit(scale_by_deviation=False)(scores, skipped)
    assert [a[0][1] for a in advantages] == pytest.approx([3.5, -3, -3.5])


def test_a_score_without_a_value_for_each_turn_is_refused() -> None:
    traces = [trace([-1, 0, 1]), trace([-1, 0, 1])]
    fits, further = (
        Score((1.0, 2.0)),
        Score((1.0, 2.0, 0.0)),
    )  # values after the last choice are fine
    assert len(ReturnToGoCredit()([fits, further], traces)) == 2
    for scores in ([fits, Score((1.0,))], [fits, Score((), reward=3.0)]):
        with pytest.raises(ValueError, match=r"values for an episode of 2 turns"):
            ReturnToGoCredit()(scores, traces)
    for credit in (GroupCredit(), ReturnToGoCredit()):
        with pytest.raises(ValueError, match="zip"):
            credit([fits, fits, fits], traces)


def test_with_discount_0_a_turn_is_compared_by_its_own_value_alone() -> None:
    traces = [trace([-1, 0, 1]), trace([-1, 0, 1])]
    scores = [Score((2.0, 9.0)), Score((0.0, 1.0))]
    advantages = ReturnToGoCredit(0.0, scale_by_deviation=False)(scores, traces)
    assert gained(advantages) == [[[0, 1, 4]], [[0, -1, -4]]]


def test_returns_to_go_with_a_discount() -> None:
    assert returns_to_go((1.0, 2.0, 4.0)).tolist() == [7.0, 6.0, 4.0]
    assert returns_to_go((1.0, 2.0, 4.0), 0.5).tolist() == [3.0, 4.0, 4.0]
    assert returns_to_go((1.0, 2.0, 4.0), 0.0).tolist() == [1.0, 2.0, 4.0]
    assert returns_to_go(()).tolist() == []


def test_the_deviation_divides_and_can_be_left_out() -> None:
    rewards = [0.0, 2.0, 10.0]
    assert group_advantages(rewards) == pytest.approx(np.array([-4, -2, 6]) / 28**0.5, abs=1e-5)
    assert group_advantages(rewards, scale_by_deviation=False).tolist() == [-4.0, -2.0, 6.0]
    assert group_advantages([3.0, 3.0]).tolist() == [0.0, 0.0]
    assert group_advantages([3.0]).tolist() == [0.0]
    assert group_advantages([]).tolist() == []


def test_the_advantage_of_a_turn_is_the_mean_of_its_choices() -> None:
    one = trace([-1, 0, 0, -1, 2], [-1, 3])
    advantages = (np.array([9, 1, 2, 9, 5], np.float32), np.array([9, -1], np.float32))
    assert of_turns(one, advantages).tolist() == [1.5, 0.0, 5.0, -1.0]


def test_turns_are_counted_up_to_the_last_that_chose_something() -> None:
    assert num_turns(trace([-1, 0], [-1, -1, 2])) == 3
    assert num_turns(trace([-1, 0])) == 1
    for nothing in (trace([-1, -1]), trace([]), trace()):
        assert num_turns(nothing) == 0
        assert of_turns(nothing, of_tokens(nothing, np.zeros(0))).tolist() == []


def test_credit_by_name() -> None:
    assert make_credit("group", discount=1.0, scale_by_deviation=False) == GroupCredit(False)
    assert make_credit("return_to_go", discount=0.5, scale_by_deviation=True) == ReturnToGoCredit(
        0.5, True
    )
    with pytest.raises(ConfigError, match="credit_discount must be 1 where credit is group"):
        GrpoConfig("mini", credit_discount=0.5)
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 1\.5"):
        GrpoConfig("mini", credit="return_to_go", credit_discount=1.5)
