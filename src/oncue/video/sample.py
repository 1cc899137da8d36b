"""The grid: which frame is shown at which tick of the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from oncue.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run(Generic[T]):
    """`num_frames` grid frames in a row that all show `item` of time `pts_s`; None: nothing could
    be seen yet."""

    item: T | None
    pts_s: float
    num_frames: int


class Grid(Generic[T]):
    """Turns items that arrive at times into runs on the grid: at clock t the newest item with pts
    <= t is shown.

    Grid frame k is decided once an item later than its clock arrives, the source ends, or the
    caller says that nothing older will arrive (`show_until`). Holds one item.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._item: T | None = None
        self._pts_s = 0.0
        self._num_decided = 0

    def offer(self, pts_s: float, item: T) -> Run[T] | None:
        """The grid frames that the arrival of `item` at `pts_s` (never less than before) decides;
        None for none."""
        # The number of frames shown when it can first be seen
        first = max(self._clock.first_at_or_after(pts_s), 1)
        run = self._decide(first - 1)
        self._item, self._pts_s = item, pts_s
        return run

    def show_until(self, time_s: float) -> Run[T] | None:
        """The grid frames up to `time_s` that are still open, as nothing will arrive that is older;
        None for none."""
        return self._decide(self._clock.frames_until(time_s))

    def finish(self, end_s: float) -> Run[T] | None:
        """The grid frames still open when the source ends at `end_s`: up to the end, and the last
        item."""
        last = max(self._clock.first_at_or_after(t) for t in (end_s, self._pts_s))
        return self._decide(max(last, 1))

    def _decide(self, num_frames: int) -> Run[T] | None:
        if num_frames <= self._num_decided:
            return None
        run = Run(self._item, self._pts_s, num_frames - self._num_decided)
        self._num_decided = num_frames
        return run
