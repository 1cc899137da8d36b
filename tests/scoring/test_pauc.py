"""PAUC: the constants of the benchmark and of the RL reward, its laws, the late rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oncue.errors import InputError
from oncue.scoring.pauc import Point, late_rule, pauc

OMEGAS = (0.0, 0.5, 1.0)
CONSTANTS = [  # (max score, points, value at omega 0, 0.5, 1); window 10 s
    (2, [], (0.25, 0.25, 0.25)),
    (2, [(0, 2)], (1, 1, 1)),
    (2, [(5, 2)], (0.625, 0.8125, 1)),
    (2, [(10, 2)], (0.25, 0.625, 1)),
    (2, [(0, 0)], (0, 0, 0)),
    (2, [(10, 0)], (0.25, 0.125, 0)),
    (2, [(2, 1), (6, 2)], (0.65, 0.825, 1)),
    (4, [], (0.125, 0.125, 0.125)),
    (4, [(4, 4)], (0.65, 0.825, 1)),
    (4, [(5, 4)], (0.5625, 0.78125, 1)),
    (4, [(10, 4)], (0.125, 0.5625, 1)),
    (4, [(4, 0)], (0.05, 0.025, 0)),
    (4, [(2, 2), (6, 4)], (0.625, 0.8125, 1)),
]


@pytest.mark.parametrize(("max_score", "points", "expected"), CONSTANTS)
def test_constants(max_score, points, expected):
    values = [pauc([Point(*p) for p in points], 10, max_score, omega) for omega in OMEGAS]
    assert values == pytest.approx(expected, abs=1e-12)


def test_the_headline_of_the_benchmark_is_the_default():
    assert pauc([Point(5, 2)], 10) == 0.8125


def test_the_full_reward_example():
    """Spans [4, 12] and [16, 24]; marks 4 at 8 s; 2, 0, 4 at 16, 20, 24 s; S = 4."""
    spans = [[Point(4, 4)], [Point(0, 2), Point(4, 0), Point(8, 4)]]
    assert [pauc(p, 8, 4, 0.0) for p in spans] == pytest.approx([0.5625, 0.25])
    assert [pauc(p, 8, 4, 0.5) for p in spans] == pytest.approx([0.78125, 0.625])


@st.composite
def dialogues(draw):
    window_s = draw(st.floats(0.1, 300))
    max_score = draw(st.sampled_from([1, 2, 4]))
    shares = draw(st.lists(st.floats(0, 1), max_size=6, unique=True))
    points = [Point(share * window_s, draw(st.integers(0, max_score))) for share in sorted(shares)]
    return points, window_s, max_score, draw(st.floats(0, 1))


@given(dialogues())
def test_stays_in_the_unit_interval(dialogue):
    assert 0 <= pauc(*dialogue) <= 1


def test_the_sum_of_a_perfect_turn_is_not_rounded_beyond_one():
    assert 3.8 + (12.4 - 3.8) > 12.4  # control
    assert pauc([Point(0, 2), Point(3.8, 2)], 12.4, omega=0) == 1


@given(dialogues(), st.data())
def test_a_better_mark_never_lowers_it(dialogue, data):
    points, window_s, max_score, omega = dialogue
    assume(points)
    i = data.draw(st.integers(0, len(points) - 1))
    better = [*points]
    better[i] = Point(points[i].offset_s, data.draw(st.integers(int(points[i].mark), max_score)))
    assert (
        pauc(better, window_s, max_score, omega) >= pauc(points, window_s, max_score, omega) - 1e-12
    )


@given(dialogues(), st.data())
def test_a_reply_that_improves_is_worth_no_less_when_earlier(dialogue, data):
    points, window_s, max_score, omega = dialogue
    assume(points)
    i = data.draw(st.integers(0, len(points) - 1))
    before = points[i - 1] if i else Point(0.0, 0.5)
    assume(points[i].mark >= before.mark)
    earlier = [*points]
    earlier[i] = Point(data.draw(st.floats(before.offset_s, points[i].offset_s)), points[i].mark)
    assert (
        pauc(earlier, window_s, max_score, omega)
        >= pauc(points, window_s, max_score, omega) - 1e-12
    )


def test_a_reply_that_spoils_is_worth_less_when_earlier():
    """Negative control of the law above."""
    assert pauc([Point(2, 0)], 10, omega=0) < pauc([Point(8, 0)], 10, omega=0)


@given(dialogues(), st.randoms())
def test_the_order_of_the_points_does_not_matter(dialogue, random):
    points, window_s, max_score, omega = dialogue
    points = [*points, *(Point(p.offset_s, 0) for p in points)]  # two replies at each instant
    shuffled = random.sample(points, len(points))
    assert pauc(shuffled, window_s, max_score, omega) == pauc(points, window_s, max_score, omega)


def test_of_two_replies_at_one_instant_the_better_stands():
    assert pauc([Point(5, 2), Point(5, 0)], 10, omega=0) == 0.625


@pytest.mark.parametrize("window_s", [0.0, -1.0, math.nan, math.inf])
def test_a_span_without_width_is_refused(window_s):
    with pytest.raises(InputError, match="wider than 0 s"):
        pauc([], window_s)


@pytest.mark.parametrize(
    ("points", "max_score", "omega"),
    [
        ([Point(11, 1)], 2, 0),
        ([Point(-0.1, 1)], 2, 0),
        ([Point(1, 3)], 2, 0),
        ([Point(1, -0.1)], 2, 0),
        ([], 2, 1.001),
        ([], 2, -0.001),
        ([], 2, math.nan),
        ([], 0.5, 0),
    ],
)
def test_values_out_of_range_are_refused(points, max_score, omega):
    with pytest.raises(InputError):
        pauc(points, 10, max_score, omega)


def marks(*points: tuple[float, float]) -> list[Point]:
    return [Point(*p) for p in points]


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        (marks((2, 2), (9, 1)), marks((2, 2))),  # late and lower: deleted
        (marks((2, 1), (9, 1)), marks((2, 1), (9, 1))),  # late and equal: kept
        (marks((2, 1), (9, 2)), marks((2, 1), (9, 2))),  # late and higher: kept
        (
            marks((9, 1), (9.5, 0)),
            marks((9, 1), (9.5, 0)),
        ),  # none during the event: remembered 0, nothing deleted
        (
            marks((2, 2), (6, 1), (9, 1)),
            marks((2, 2), (6, 1), (9, 1)),
        ),  # the last one counts, not the best
        (marks((8, 2), (9, 1)), marks((8, 2))),  # at the very end of the event is during it
        (marks((2, 2), (9, 2), (9.5, 1)), marks((2, 2), (9, 2))),
        (marks((9, 1), (2, 2)), marks((2, 2))),  # order of the input
    ],
)
def test_late_rule(points, kept):
    assert late_rule(points, related_end_s=8) == tuple(kept)
