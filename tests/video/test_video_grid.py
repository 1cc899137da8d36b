"""Which picture is shown at which tick: the grid against its definition, and the sources built on
it."""

from __future__ import annotations

import gc
import itertools
import math
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.clock import Clock
from oncue.errors import ConfigError, VideoError
from oncue.types import FrameBatch
from oncue.video.sample import Grid
from oncue.video.source import Paced, PushSource, frames_of

INTERVALS = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 1.0, 2.0])


def shown(pts: list[float], end_s: float, interval_s: float) -> list[int | None]:
    """Which item each tick shows, by `Grid`."""
    grid: Grid[int] = Grid(Clock(interval_s))
    runs = [grid.offer(t, i) for i, t in enumerate(pts)] + [grid.finish(end_s)]
    return [run.item for run in runs if run is not None for _ in range(run.num_frames)]


def by_definition(
    pts: list[float], end_s: float, interval_s: float, late_s: float = 0.0
) -> list[int | None]:
    """The newest item with pts <= t at each tick t, looked up in the whole list. Exact for times on
    a fine grid."""
    slack = interval_s * 1e-6
    ticks = [
        (k + 1) * interval_s
        for k in range(max(1, math.ceil(max(end_s, pts[-1]) / interval_s - 1e-6)))
    ]
    return [
        max((i for i, p in enumerate(pts) if p <= t + slack + late_s), default=None) for t in ticks
    ]


@st.composite
def times(draw: st.DrawFn) -> tuple[list[float], float, float]:
    """Times that never go back, many of them exactly on ticks, the end, and the interval."""
    interval_s = draw(INTERVALS)
    steps = draw(
        st.lists(
            st.sampled_from([0.0, 0.04, 0.1, 0.25, 1 / 3, 0.5, 1.0, 3.7]), min_size=1, max_size=30
        )
    )
    pts = list(itertools.accumulate(steps))
    return pts, pts[-1] + draw(st.sampled_from([0.0, 0.04, 0.5, 2.0])), interval_s


@settings(max_examples=200, deadline=None)
@given(times())
def test_the_grid_shows_the_newest_frame_at_every_tick(
    case: tuple[list[float], float, float],
) -> None:
    assert shown(*case) == by_definition(*case)


@settings(max_examples=100, deadline=None)
@given(times())
def test_no_frame_is_later_than_the_clock(case: tuple[list[float], float, float]) -> None:
    pts, _, interval_s = case
    for k, item in enumerate(shown(*case)):
        assert item is None or pts[item] <= (k + 1) * interval_s * (1 + 1e-6)


def test_the_definition_tells_a_grid_that_looks_ahead() -> None:
    case = ([0.0, 0.6, 1.2, 1.8], 2.0, 0.5)
    assert shown(*case) != by_definition(*case, late_s=0.25)


def test_products_of_the_interval_fall_on_ticks() -> None:
    pts = [0.1 * k for k in range(100)]
    assert shown(pts, 10.0, 0.1) == [*range(1, 100), 99]


def push_all(source: PushSource, pts: list[float]) -> None:
    for i, t in enumerate(pts):
        source.push(np.full((2, 2, 3), i, np.uint8), t)
    source.end()


def test_pushed_frames_come_out_on_the_grid() -> None:
    source = PushSource(1.0)
    push_all(source, [0.0, 0.5, 1.0, 1.5, 3.9])
    batches = list(frames_of(source))
    assert [(int(b.pixels[0, 0, 0, 0]), float(b.pts_s[0])) for b in batches] == [
        (2, 1.0),
        (3, 1.5),
        (3, 1.5),
        (4, 3.9),
    ]


def test_nothing_is_shown_before_the_first_pushed_frame() -> None:
    source = PushSource(1.0)
    source.push(np.full((2, 2, 3), 9, np.uint8), 2.5)
    source.end(5.0)
    assert [int(b.pixels.max()) for b in frames_of(source)] == [0, 0, 9, 9, 9]


def test_reading_waits_until_the_tick_is_decided() -> None:
    source, got = PushSource(1.0), []
    reader = threading.Thread(target=lambda: got.append(source.read()), daemon=True)
    reader.start()
    source.push(np.zeros((2, 2, 3), np.uint8), 0.0)
    reader.join(0.1)
    assert reader.is_alive(), "the frame of tick 1 is not decided while a newer one may still come"
    source.push(np.ones((2, 2, 3), np.uint8), 1.5)
    reader.join(5)
    assert got[0] is not None
    assert got[0].pts_s.tolist() == [0.0]


class Alive:
    """Counts the arrays given to it that somebody still holds."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, pixels: np.ndarray) -> None:
        self.count += 1
        weakref.finalize(pixels, self._gone)

    def _gone(self) -> None:
        self.count -= 1


def test_an_endless_source_holds_few_pictures() -> None:
    alive = Alive()
    source, most = PushSource(1.0, max_pending=4), 0

    def feed() -> None:
        for i in itertools.count():
            pixels = np.full((8, 8, 3), i % 256, np.uint8)
            alive.add(pixels)
            if source._closed:
                return
            source.push(pixels, i * 0.1)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    for k in range(300):
        batch = source.read()
        assert batch is not None
        assert batch.pixels[0, 0, 0, 0] == (k + 1) * 10 % 256
        del batch
        most = max(most, alive.count)
    source.close()
    feeder.join(5)
    assert not feeder.is_alive()
    assert most <= 4 + 3, "queue, the newest, the one being pushed, the one being read"
    gc.collect()


def test_the_count_of_live_pictures_sees_a_source_that_keeps_them() -> None:
    alive = Alive()
    source = PushSource(1.0, max_pending=100)
    for i in range(50):
        pixels = np.zeros((8, 8, 3), np.uint8)
        alive.add(pixels)
        source.push(pixels, float(i))
    assert alive.count > 40


def test_a_push_that_nobody_reads_does_not_hang() -> None:
    source = PushSource(1.0, max_pending=1)
    source.push(np.zeros((2, 2, 3), np.uint8), 0.0)
    source.push(np.zeros((2, 2, 3), np.uint8), 2.0)
    with pytest.raises(VideoError, match="nobody has read"):
        source.push(np.zeros((2, 2, 3), np.uint8), 4.0, timeout_s=0.05)


def test_close_wakes_a_waiting_reader() -> None:
    source, got = PushSource(1.0), []
    reader = threading.Thread(target=lambda: got.append(source.read()), daemon=True)
    reader.start()
    source.close()
    reader.join(5)
    assert got == [None]


@pytest.mark.parametrize(
    ("pixels", "pts_s", "message"),
    [
        (np.zeros((2, 2), np.uint8), 1.0, "uint8"),
        (np.zeros((2, 2, 3), np.float32), 1.0, "float32"),
        (np.zeros((2, 4, 3), np.uint8), 1.0, "size of the first"),
        (np.zeros((2, 2, 3), np.uint8), 0.2, "not be earlier"),
        (np.zeros((2, 2, 3), np.uint8), math.nan, "nan"),
    ],
)
def test_a_bad_push_is_refused_and_changes_nothing(
    pixels: np.ndarray, pts_s: float, message: str
) -> None:
    source = PushSource(1.0)
    source.push(np.zeros((2, 2, 3), np.uint8), 0.5)
    with pytest.raises(VideoError, match=message):
        source.push(pixels, pts_s)
    source.end()
    assert [b.pts_s[0] for b in frames_of(source)] == [0.5]
    with pytest.raises(VideoError, match=r"after end\(\)"):
        source.push(np.zeros((2, 2, 3), np.uint8), 2.0)


def test_a_source_ended_without_a_frame_gives_none() -> None:
    source = PushSource(1.0)
    source.end()
    assert source.read() is None


@pytest.mark.parametrize("interval_s", [0.0, -1.0, math.nan, math.inf])
def test_an_interval_must_be_positive(interval_s: float) -> None:
    with pytest.raises(ConfigError, match="frame_interval_s"):
        PushSource(interval_s)


class Ticks:
    """A source of black frames, as fast as they are read."""

    frame_interval_s = 0.05

    def __init__(self, num_frames: int) -> None:
        self.num_left = num_frames
        self.closed = False

    def read(self) -> FrameBatch | None:
        self.num_left -= 1
        return (
            None if self.num_left < 0 else FrameBatch(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1))
        )

    def close(self) -> None:
        self.closed = True


def test_pacing_gives_no_frame_before_its_time() -> None:
    started, times_s = time.monotonic(), []
    for _ in frames_of(Paced(Ticks(4))):
        times_s.append(time.monotonic() - started)
    assert all(t >= 0.05 * (k + 1) - 0.005 for k, t in enumerate(times_s))
    started = time.monotonic()
    assert sum(len(b) for b in frames_of(Ticks(4))) == 4
    assert time.monotonic() - started < times_s[-1], "without pacing they come at once"


def test_pacing_says_how_late_the_most_delayed_frame_was() -> None:
    paced = Paced(Ticks(3))
    assert paced.max_lag_s == 0
    paced.read()
    time.sleep(0.2)  # the second frame is due after 0.1 s, and is asked for after 0.25
    paced.read()
    late_s = paced.max_lag_s
    assert late_s > 0.1
    paced.read()  # 0.05 s less late, unless the machine stood still
    assert paced.max_lag_s >= late_s


def test_closing_a_paced_source_ends_the_wait() -> None:
    ticks = Ticks(4)
    ticks.frame_interval_s = 60.0
    paced = Paced(ticks)
    threading.Timer(0.05, paced.close).start()
    started = time.monotonic()
    assert paced.read() is None
    assert time.monotonic() - started < 5
    assert ticks.closed
