"""GAE over tokens and turns: golden values, closed forms, and a slow second writing of the sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gae_rows import GOLDEN, THREE_TURNS, TWO_TURNS, random_row
from oncue.train.rl import advantage
from oncue.train.rl.advantage import (
    bilevel_gae,
    masked_gae,
    paper_boundary,
    turn_wise_gae,
    whiten,
    within_turns_gae,
)

INNER = {"gamma_turn": 0.95, "gamma_token": 1.0, "lam": 1.0}


@pytest.mark.parametrize(("row", "settings", "advantages", "returns"), GOLDEN)
def test_golden_values(
    row: dict[str, Any], settings: tuple[float, ...], advantages: Any, returns: Any
) -> None:
    gamma_token, lam, gamma_turn = settings
    got = bilevel_gae(**row, gamma_turn=gamma_turn, gamma_token=gamma_token, lam=lam)
    assert got[0] == pytest.approx(np.array(advantages), abs=1e-6)
    assert got[1] == pytest.approx(np.array(returns), abs=1e-6)
    assert [array.dtype for array in got] == [np.float64] * 2


@pytest.mark.parametrize("row", [TWO_TURNS, THREE_TURNS])
def test_turn_ends_may_be_flags_or_positions(row: dict[str, Any]) -> None:
    flags = np.array(row["turn_ends"])
    positions = np.flatnonzero(flags)
    for fractions in ((0.95, 1.0, 1.0), (0.9, 0.8, 0.7)):
        named = dict(zip(("gamma_turn", "gamma_token", "lam"), fractions, strict=True))
        expected = bilevel_gae(**row, **named)
        for given in (flags == 1, flags * 1.0, positions, positions.tolist(), tuple(positions)):
            got = bilevel_gae(**{**row, "turn_ends": given, "mask": np.array(row["mask"])}, **named)
            assert [array.tolist() for array in got] == [array.tolist() for array in expected]


def test_golden_whitened() -> None:
    advantages, _ = bilevel_gae(**TWO_TURNS, **INNER)
    expected = [1.108427, 0.896288, 0.684148, 0, 0, -0.684148, -0.896288, -1.108427]
    assert whiten(advantages, TWO_TURNS["mask"]) == pytest.approx(np.array(expected), abs=1e-6)


def test_turn_ends_cannot_be_inferred_from_rewards() -> None:
    missed = {**THREE_TURNS, "turn_ends": np.array(THREE_TURNS["rewards"]) != 0}
    advantages, _ = bilevel_gae(**missed, **INNER)
    assert advantages == pytest.approx(np.array([1.545, 1.345, 0, 0.9, 0.7, 0.6, 0.5]), abs=1e-6)
    right, _ = bilevel_gae(**THREE_TURNS, **INNER)
    assert abs(right - advantages).max() > 0.05


def test_several_rows_are_those_rows_one_by_one() -> None:
    padded = {key: [*value, 0] for key, value in THREE_TURNS.items()}
    for place in range(3):
        rows = [TWO_TURNS, padded]
        rows.insert(place, {key: [0] * 8 for key in TWO_TURNS})  # a row in which nothing is chosen
        batch = {key: np.array([row[key] for row in rows]) for key in TWO_TURNS}
        for of_batch in (
            lambda row: bilevel_gae(**row, gamma_turn=0.9, gamma_token=0.8, lam=0.7),
            lambda row: turn_wise_gae(**row, gamma_turn=0.9, lam=0.7),
            lambda row: within_turns_gae(**row, gamma_token=0.8, lam=0.7),
        ):
            advantages, returns = of_batch(batch)
            for k, row in enumerate(rows):
                assert advantages[k].tolist() == of_batch(row)[0].tolist()
                assert returns[k].tolist() == of_batch(row)[1].tolist()
            assert not advantages[place].any()


def slow_sums(rewards: Any, values: Any, gamma: float, lam: float) -> list[float]:
    """GAE as its double sum: A_i = sum over j >= i of (gamma lam)^(j-i) delta_j."""
    n = len(rewards)
    after = [*values[1:], 0.0]
    delta = [rewards[j] + gamma * after[j] - values[j] for j in range(n)]
    return [sum((gamma * lam) ** (j - i) * delta[j] for j in range(i, n)) for i in range(n)]


def slow_turns(row: dict[str, np.ndarray]) -> list[list[int]]:
    """The chosen places of each turn."""
    turns: list[list[int]] = [[]]
    for place, (chosen, end) in enumerate(zip(row["mask"], row["turn_ends"], strict=True)):
        turns[-1] += [place] if chosen else []
        turns += [[]] if end else []
    return turns[:-1]


FRACTIONS = [(1.0, 1.0, 1.0), (0.95, 1.0, 1.0), (0.9, 0.8, 0.7), (0.0, 0.5, 1.0), (0.5, 0.0, 0.3)]


@pytest.mark.parametrize(("gamma_turn", "gamma_token", "lam"), FRACTIONS)
def test_random_rows_equal_the_slow_sums(gamma_turn: float, gamma_token: float, lam: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(150):
        row = random_row(rng, token_rewards=bool(rng.integers(2)))
        r, v, turns = row["rewards"], row["values"], slow_turns(row)
        ends = [turn[-1] for turn in turns]
        of_turns = slow_sums(r[ends], v[ends], gamma_turn, lam)
        bilevel, turn_wise, within = (np.zeros(len(r)) for _ in range(3))
        for turn, gained in zip(turns, of_turns, strict=True):
            placed = [*r[turn[:-1]], gained + v[turn[-1]]]
            bilevel[turn] = slow_sums(placed, v[turn], gamma_token, lam)
            within[turn] = slow_sums(r[turn], v[turn], gamma_token, lam)
            turn_wise[turn] = gained
        places = [place for turn in turns for place in turn]
        tokens = np.zeros(len(r))
        tokens[places] = slow_sums(r[places], v[places], gamma_token, lam)
        known = np.where(row["mask"], v, 0.0)
        fractions = {"gamma_turn": gamma_turn, "gamma_token": gamma_token, "lam": lam}
        got = {
            "bilevel": bilevel_gae(**row, **fractions),
            "within": within_turns_gae(**row, gamma_token=gamma_token, lam=lam),
            "tokens": masked_gae(r, v, row["mask"], gamma=gamma_token, lam=lam),
        }
        expected = {"bilevel": bilevel, "within": within, "tokens": tokens}
        for name, (advantages, returns) in got.items():
            assert advantages == pytest.approx(expected[name], abs=1e-9), name
            assert returns == pytest.approx(expected[name] + known, abs=1e-9), name
        advantages, returns = turn_wise_gae(**row, gamma_turn=gamma_turn, lam=lam)
        assert advantages == pytest.approx(turn_wise, abs=1e-9)
        for turn, gained in zip(turns, of_turns, strict=True):
            assert returns[turn] == pytest.approx(gained + v[turn[-1]])
        assert not returns[row["mask"] == 0].any()


def test_with_lambda_1_values_cancel() -> None:
    rng = np.random.default_rng(2)
    for _ in range(100):
        row = random_row(rng)
        _, returns = bilevel_gae(**row, **INNER)
        ends = np.flatnonzero(row["turn_ends"])
        for i, turn in enumerate(slow_turns(row)):
            closed = sum(0.95 ** (j - i) * row["rewards"][ends[j]] for j in range(i, len(ends)))
            assert returns[turn] == pytest.approx(closed)


def test_with_all_at_1_the_levels_are_one() -> None:
    """Which is why a missing mask, or a missing level, only shows below 1."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        row = random_row(rng)
        both = bilevel_gae(**row, gamma_turn=1.0, gamma_token=1.0, lam=1.0)
        one = masked_gae(row["rewards"], row["values"], row["mask"], gamma=1.0, lam=1.0)
        assert both[0] == pytest.approx(one[0])
        assert both[1] == pytest.approx(one[1])


def test_observed_places_do_not_discount() -> None:
    """Ordinary GAE over all places would."""
    far = {key: np.insert(value, [1, 3, 3, 3], 0) for key, value in TWO_TURNS.items()}
    for gamma, lam in ((0.99, 0.95), (1.0, 1.0)):
        near_A, _ = masked_gae(
            *(TWO_TURNS[k] for k in ("rewards", "values", "mask")), gamma=gamma, lam=lam
        )
        far_A, _ = masked_gae(
            *(far[k] for k in ("rewards", "values", "mask")), gamma=gamma, lam=lam
        )
        chosen = far["mask"] == 1
        assert far_A[chosen] == pytest.approx(near_A[np.array(TWO_TURNS["mask"]) == 1])
        blind, _ = masked_gae(far["rewards"], far["values"], np.ones(12), gamma=gamma, lam=lam)
        assert (abs(blind - far_A)[chosen].max() > 0.05) == (gamma < 1)


def test_the_paper_carries_only_the_outcome_back() -> None:
    rewards, outcome = [0.6, -0.3, 1.1], [0.0, 0.0, 1.0]
    got = paper_boundary(rewards, outcome, gamma_turn=0.95)
    assert got == pytest.approx([0.6 + 0.95**2, -0.3 + 0.95, 0.1 + 1.0])
    assert paper_boundary(rewards, [0.0] * 3, gamma_turn=0.95) == pytest.approx(rewards)
    assert paper_boundary([], [], gamma_turn=0.5).shape == (0,)
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        paper_boundary([1.0, 2.0], outcome, gamma_turn=0.95)
    with pytest.raises(ValueError, match=r"gamma_turn must lie from 0 to 1, got 1\.5"):
        paper_boundary(rewards, outcome, gamma_turn=1.5)


def test_the_paper_and_both_levels_differ_by_the_frames_of_later_turns() -> None:
    """For three turns, gamma, and lambda 1."""
    rewards, outcome = np.array([0.6, 0.6, 1.1]), np.array([0.0, 0.0, 1.0])
    row = {"values": [0.3, 0.2, 0.1], "mask": [1, 1, 1], "turn_ends": [1, 1, 1]}
    _, both = bilevel_gae(rewards, **row, **INNER)
    boundary = paper_boundary(rewards, outcome, gamma_turn=0.95)
    _, paper = within_turns_gae(boundary, **row, gamma_token=1.0, lam=1.0)
    later = [0.95 * 0.6 + 0.95**2 * 0.1, 0.95 * 0.1, 0.0]
    assert both - paper == pytest.approx(later)


def test_whitening() -> None:
    values, mask = (
        np.arange(12.0).reshape(3, 4),
        np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]]),
    )
    whitened = whiten(values, mask)
    chosen = whitened[mask == 1]
    assert (chosen.mean(), chosen.var(ddof=1)) == pytest.approx((0.0, 1.0))
    assert not whitened[mask == 0].any()
    assert not whiten(values, mask == 9).any()
    assert whiten(np.array([5.0, 7.0]), [1, 0]).tolist() == [0.0, 0.0]
    assert whiten(np.array([5.0, 5.0]), [1, 1]).tolist() == [0.0, 0.0]
    tiny = whiten(np.array([0.0, 1e-4]), [1, 1])  # the epsilon is added to the variance
    assert tiny == pytest.approx(np.array([-0.5e-4, 0.5e-4]) / (0.5e-8 + 1e-8) ** 0.5)
    with pytest.raises(ValueError, match="one shape"):
        whiten(values, [1, 0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": [0.0] * 7}, r"one shape.*\(8,\), \(7,\), \(8,\), \(8,\)"),
        ({"turn_ends": [False, True]}, "one shape"),
        ({"turn_ends": [[0, 1]]}, "one shape"),
        ({"turn_ends": [0, 1]}, r"place \(2,\) lies behind the last turn end"),
        ({"turn_ends": [2]}, r"place \(5,\) lies behind the last turn end"),
        ({"turn_ends": [2, 3, 7]}, r"outside the mask, at \(3,\)"),
        ({"turn_ends": [7, 2]}, "list positions among them in order"),
        ({"turn_ends": [2, 2, 7]}, "list positions"),
        ({"turn_ends": [2, 8]}, "each of the 8 places"),
        ({"turn_ends": [-6, -1]}, "list positions"),
        ({"turn_ends": [2.5, 7]}, "list positions"),
        ({"turn_ends": [0, 0, 2, 0, 0, 0, 0, 7]}, "turn_ends must have one flag"),
        ({"mask": [0.5] * 8}, "mask must have one flag"),
        ({"mask": [1, 1, 1, 0, 0, 1, 1, 0], "rewards": [0] * 8}, r"outside the mask, at \(7,\)"),
        ({"rewards": [0, 0, 0.6, 0, 1, 0, 0, 1]}, r"reward lies outside the mask, at \(4,\)"),
        ({"rewards": [0, 0, 0.6, np.nan, 0, 0, 0, 1]}, "reward lies outside the mask"),
        ({"rewards": [0, 0, np.inf, 0, 0, 0, 0, 1]}, "must be finite"),
        ({"values": [np.nan] * 8}, "must be finite"),
        ({"turn_ends": [0, 0, 1, 0, 0, 0, 1, 0]}, r"place \(7,\) lies behind the last turn end"),
        ({"turn_ends": [0] * 8}, r"place \(0,\) lies behind the last turn end"),
        ({key: [[value]] for key, value in TWO_TURNS.items()}, "one shape"),
        (dict.fromkeys(TWO_TURNS, 0), "one shape"),
    ],
)
def test_rows_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    row = {**TWO_TURNS, **changed}
    for call in (
        lambda: bilevel_gae(**row, **INNER),
        lambda: turn_wise_gae(**row, gamma_turn=0.95, lam=1.0),
        lambda: within_turns_gae(**row, gamma_token=1.0, lam=1.0),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("name", ["gamma_turn", "gamma_token", "lam"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_discounts_lie_between_0_and_1(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must lie from 0 to 1"):
        bilevel_gae(**TWO_TURNS, **{**INNER, name: value})
    with pytest.raises(ValueError, match="must lie from 0 to 1"):
        masked_gae([1.0], [0.0], [1], gamma=value, lam=1.0)
    with pytest.raises(ValueError, match="must lie from 0 to 1"):
        masked_gae([1.0], [0.0], [1], gamma=1.0, lam=value)


def test_what_is_given_stays_as_it_was() -> None:
    row = {key: np.array(value, np.float64) for key, value in THREE_TURNS.items()}
    before = {key: value.copy() for key, value in row.items()}
    bilevel_gae(**row, **INNER)
    whiten(row["rewards"], row["mask"])
    advantage.returns_to_go(row["rewards"], 0.5)
    assert all((row[key] == before[key]).all() for key in row)
