"""Shares and their intervals, against values from published tables and the plain formulas."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.scoring.confidence_intervals import Proportion, paired_difference


@pytest.mark.parametrize(
    ("num", "total", "low", "high"),
    [  # Newcombe 1998, table I: Wilson's score interval without continuity correction
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(num, total, low, high):
    assert Proportion(num, total).interval == pytest.approx((low, high), abs=5e-5)


def test_of_nothing_nothing_is_known():
    assert Proportion(0, 0).value is None
    assert Proportion(0, 0).interval is None
    assert paired_difference([], []) is None


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_the_share_and_is_never_a_point(pair):
    share = Proportion(*pair)
    low, high = share.interval
    assert 0.0 <= low <= share.value + 1e-12
    assert share.value - 1e-12 <= high <= 1.0
    assert high - low > 0.003
    other = Proportion(pair[1] - pair[0], pair[1]).interval
    assert (1 - other[1], 1 - other[0]) == pytest.approx((low, high))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_a_paired_difference_and_its_interval(pairs):
    ours, others = [list(side) for side in zip(*pairs, strict=True)]
    found = paired_difference(ours, others)
    assert found.value == pytest.approx((sum(ours) - sum(others)) / len(pairs))
    low, high = found.interval
    assert -1.0 <= low < high <= 1.0
    assert low - 1e-12 <= found.value <= high + 1e-12
    back = paired_difference(others, ours)
    assert (-back.interval[1], -back.interval[0]) == pytest.approx((low, high))


def test_a_paired_difference_counted_by_hand():
    """3 won, 1 lost, 4 equal: (3 - 1) / 10 +- 1.96 sqrt(5 - 4 / 10) / 10."""
    ours = [True] * 3 + [False] + [True, True, False, False]
    others = [False] * 3 + [True] + [True, True, False, False]
    found = paired_difference(ours, others)
    assert found.value == 0.25
    assert found.interval == pytest.approx((0.2 - 0.42037, 0.2 + 0.42037), abs=1e-5)
