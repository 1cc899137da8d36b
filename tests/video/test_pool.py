"""Which frames a pool holds, which of them a look shows, and which lie within given spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncue.types import FrameBatch, TimeSpan
from oncue.video.pool import FramePool, frame_time_s, frames_within, index_at, spread

SIZES = st.integers(1, 200)
DURATIONS_S = st.floats(0.04, 20_000)


def pool_of(num_frames: int, duration_s: float) -> FramePool:
    pixels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    times_s = np.array([frame_time_s(i, num_frames, duration_s) for i in range(num_frames)])
    return FramePool(FrameBatch(pixels, times_s), duration_s)


@pytest.mark.parametrize(
    ("first", "last", "most", "expected"),
    [
        (0, 63, 16, [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]),
        (46, 63, 8, [46, 48, 50, 53, 55, 58, 60, 63]),
        (12, 33, 8, [12, 15, 18, 21, 24, 27, 30, 33]),
        (5, 9, 8, [5, 6, 7, 8, 9]),
        (7, 7, 8, [7]),
        (0, 127, 16, [0, 8, 16, 25, 33, 42, 50, 59, 67, 76, 84, 93, 101, 110, 118, 127]),
        (3, 9, 0, [3]),
    ],
)
def test_looks_show_the_published_frames(first, last, most, expected) -> None:
    assert spread(first, last, most) == expected


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 40))
def test_a_look_keeps_to_its_range_and_its_budget(first: int, more: int, most: int) -> None:
    shown = spread(first, first + more, most)
    assert shown == sorted(set(shown))
    assert len(shown) == min(more + 1, most)
    assert shown[0] == first
    assert shown[-1] == (first + more if len(shown) > 1 else first)


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="must not end before it starts, got 5 to 4"):
        spread(5, 4, 8)


@given(SIZES, DURATIONS_S)
def test_index_to_seconds_to_index_is_the_identity(num_frames: int, duration_s: float) -> None:
    for index in range(num_frames):
        time_s = frame_time_s(index, num_frames, duration_s)
        assert 0 <= time_s <= duration_s
        assert index_at(time_s, num_frames, duration_s) == index


def test_times_outside_belong_to_the_nearest_frame() -> None:
    assert [index_at(t, 8, 4.0) for t in (-1.0, 0.0, 0.49, 0.5, 3.99, 4.0, 99.0)] == [
        *(0, 0, 0, 1, 7, 7, 7)
    ]


def test_frames_within_spans() -> None:
    def within(*spans: tuple[float, float]) -> set[int]:
        return set(frames_within((TimeSpan(*span) for span in spans), 10, 10.0))

    assert within() == set()
    assert within((0.0, 10.0)) == set(range(10))
    assert within((2.0, 4.0)) == {2, 3}
    assert within((2.5, 4.5)) == {2, 3, 4}, "both ends are inside"
    assert within((2.6, 3.4)) == {3}, "of a span between two frames the one nearest to its middle"
    assert within((2.0, 2.1), (7.2, 7.8)) == {2, 7}
    assert within((-5.0, 1.0), (9.2, 99.0)) == {0, 9}, "only the part inside counts"
    assert within((9.6, 99.0)) == {9}, "whose middle is that of the part inside"
    assert within((-9.0, 0.2)) == {0}
    assert within((-9.0, -1.0), (10.5, 20.0)) == set(), "wholly outside there is nothing to see"


def test_a_span_that_ends_at_the_time_of_a_frame_holds_it() -> None:
    """(1 + .5) * 4 / 20 is 0.30000000000000004 in doubles."""
    assert frames_within([TimeSpan(0.2, 0.3)], 20, 4.0) == {1}


@given(SIZES, DURATIONS_S, st.floats(0, 1), st.floats(0, 1))
def test_a_span_inside_gives_frames_around_it(
    num_frames: int, duration_s: float, one: float, other: float
) -> None:
    start_s, end_s = sorted((one * duration_s, other * duration_s))
    found = frames_within([TimeSpan(start_s, end_s)], num_frames, duration_s)
    assert sorted(found) == list(range(min(found), max(found) + 1))
    part_s = duration_s / num_frames
    for index in found:
        time_s = frame_time_s(index, num_frames, duration_s)
        assert start_s - part_s <= time_s <= end_s + part_s


def test_frames_are_taken_with_their_times_and_indices() -> None:
    pool = pool_of(8, 4.0)
    taken = pool.take([6, 1, 1], ["a", "b", "c"])
    assert taken.pixels[:, 0, 0, 0].tolist() == [6, 1, 1]
    assert taken.pts_s.tolist() == [3.25, 0.75, 0.75]
    assert (taken.marks, taken.indices) == (("a", "b", "c"), (6, 1, 1))
    assert [pool.time_of(i) for i in (0, 7)] == [0.25, 3.75]
    for index in (-1, 8):
        with pytest.raises(IndexError, match=f"pool of 8 frames go from 0, got .{index}"):
            pool.take([0, index])


@pytest.mark.parametrize(("num_frames", "duration_s"), [(0, 4.0), (3, 0.0), (3, float("nan"))])
def test_no_pool_without_frames_or_time(num_frames: int, duration_s: float) -> None:
    with pytest.raises(ValueError, match="at least one frame and a duration above 0"):
        FramePool(pool_of(num_frames, 4.0).frames, duration_s)
