"""Laws of the clock: frames and seconds name the same moments, and grid times are those that people
write."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from oncue.clock import Clock
from oncue.types import TimeSpan


@pytest.mark.parametrize("interval", ["0.1", "0.2", "0.25", "0.3", "0.7", "1", "2"])
def test_a_closed_span_that_ends_on_the_grid_holds_its_end(interval: str) -> None:
    clock = Clock(float(interval))
    for num_frames in range(1, 2000):
        written = float(Decimal(interval) * num_frames)
        time_s = clock.time_of(num_frames)
        assert time_s in TimeSpan(written, written)
        assert clock.frames_until(time_s) == clock.first_at_or_after(time_s) == num_frames


def test_a_bare_product_would_miss_it() -> None:
    """Control."""
    assert 3 * 0.2 not in TimeSpan(0.0, 0.6)


def test_intervals_that_no_decimal_writes_stay_on_their_grid() -> None:
    clock = Clock(1 / 3)
    assert [clock.time_of(n) for n in (1, 2, 3)] == [
        0.333333333,
        0.666666667,
        1.0,
    ]  # to the nanosecond
    assert [clock.frames_until(clock.time_of(n)) for n in range(500)] == list(range(500))


@pytest.mark.parametrize("interval_s", [0.0, -1.0, math.nan, math.inf, 1e-320, 0.99e-6])
def test_what_is_no_interval_is_refused(interval_s: float) -> None:
    with pytest.raises(ValueError, match="frame_interval_s must be"):
        Clock(interval_s)


def test_the_smallest_interval_is_a_microsecond() -> None:
    clock = Clock(1e-6)
    assert [clock.time_of(n) for n in (1, 3, 1_000_000)] == [1e-6, 3e-6, 1.0]
    assert [clock.frames_until(clock.time_of(n)) for n in range(500)] == list(range(500))
