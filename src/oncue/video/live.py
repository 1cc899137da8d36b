"""Watching what happens now: pictures are set to the time that really passes, and late ones give
way to newer ones."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from oncue.clock import Clock
from oncue.errors import DroppedFramesWarning
from oncue.types import FrameBatch
from oncue.video.decode import Decoder, frame_to_rgb
from oncue.video.opening import source_name
from oncue.video.probe import VideoInfo, describe
from oncue.video.sample import Grid, Run

if TYPE_CHECKING:
    from av import VideoFrame

T = TypeVar("T")

AGREES_S = (
    1.0  # time stamps and the time that passed may differ by so much; a network's jitter is smaller
)
MAX_WAITING_BYTES = 512 * 2**20  # of pictures that wait, as RGB
CLOSE_WAIT_S = (
    1.0  # how long `close` waits for the thread; it ends by itself when the network lets go of it
)


class ArrivalTimes:
    """Sets time stamps of pictures to the time that passes: seconds since the first one, never
    going back.

    Stamps are precise and are used as long as they agree with the time of arrival to `AGREES_S`.
    Otherwise (a clock that jumps or runs wrong, a pause without stamps) the picture is of the
    moment it arrives, and its stamp counts from there. Without `has_stamps` all pictures are of the
    moment they arrive. With `may_be_early` no stamp is too far ahead: some sources deliver faster
    than they happened.
    """

    def __init__(self, *, has_stamps: bool, may_be_early: bool) -> None:
        self._has_stamps, self._may_be_early = has_stamps, may_be_early
        self._shift_s: float | None = None  # from a stamp to its time
        self._last_s = 0.0

    def place(self, stamp_s: float, passed_s: float) -> float:
        """The time of the picture with this stamp that arrived `passed_s` after the first one."""
        ahead_s = 0.0 if self._shift_s is None else stamp_s + self._shift_s - passed_s
        is_right = ahead_s >= -AGREES_S and (self._may_be_early or ahead_s <= AGREES_S)
        if self._shift_s is None or not (self._has_stamps and is_right):
            self._shift_s, ahead_s = passed_s - stamp_s, 0.0
        self._last_s = max(self._last_s, passed_s + ahead_s)
        return self._last_s

    def end_of(self, stamp_s: float) -> float:
        """Where a source ends whose last picture lasts until that stamp."""
        return self._last_s if self._shift_s is None else max(self._last_s, stamp_s + self._shift_s)


class Waiting(Generic[T]):
    """The pictures of a live source that wait to be shown, on the grid. Times are seconds since the
    first picture.

    A grid frame is there as soon as a later picture has arrived, and in any case `AGREES_S` after
    its time: while nothing arrives, the picture before stays on show. Who comes late gets the
    newest grid frame that is due by now; with `every_frame` the oldest. Those left out are counted
    (`num_dropped`) when the next one is taken. `max_lag_s`: how long after its time the most
    delayed one was taken. Waiting are at most `max_waiting` pictures; beyond that the oldest are
    dropped as they become due (`has_overflowed`).
    """

    def __init__(
        self, clock: Clock, times: ArrivalTimes, max_waiting: int, *, every_frame: bool
    ) -> None:
        self.num_dropped = 0
        self.max_lag_s = 0.0
        self.has_overflowed = False
        self._clock, self._times = clock, times
        self._max_waiting, self._every_frame = max_waiting, every_frame
        self._grid: Grid[T] = Grid(clock)
        # Each with the number of its last grid frame
        self._runs: deque[tuple[int, Run[T]]] = deque()
        self._num_decided = self._num_taken = 0  # grid frames, counted from the first of all
        self._has_ended = False

    def add(self, stamp_s: float, picture: T, passed_s: float) -> None:
        """A picture has arrived."""
        self._append(self._grid.offer(self._times.place(stamp_s, passed_s), picture))

    def end(self, stamp_s: float) -> None:
        """No more will arrive; the last picture lasts until the stamp."""
        self._append(self._grid.finish(self._times.end_of(stamp_s)))
        self._has_ended = True

    def take(self, passed_s: float) -> Run[T] | None:
        """The picture of the next grid frame to be shown; None where none is there yet."""
        self._pass(passed_s)
        if not self._runs:
            return None
        number = self._num_taken + 1
        if not self._every_frame:
            number = max(number, min(self._clock.frames_until(passed_s), self._num_decided))
        while self._runs[0][0] < number:
            self._runs.popleft()
        last, run = self._runs[0]
        number = max(number, last - run.num_frames + 1)
        if number == last:
            self._runs.popleft()
        self.num_dropped += number - self._num_taken - 1
        self._num_taken = number
        self.max_lag_s = max(self.max_lag_s, passed_s - self._clock.time_of(number))
        return run

    def wait_s(self, passed_s: float) -> float:
        """How long until a grid frame is there even if nothing arrives."""
        return max(0.0, self._clock.time_of(self._num_decided + 1) + AGREES_S - passed_s)

    def make_room(self, passed_s: float) -> float:
        """Drop what is due and does not fit. Gives the seconds from now until the next picture
        fits: 0, except where a source is so far ahead that even the oldest picture is not due."""
        while len(self._runs) >= self._max_waiting:
            due_in_s = self._clock.time_of(self._runs[0][0]) - passed_s
            if due_in_s > 0:
                return due_in_s
            self._runs.popleft()
            self.has_overflowed = True
        return 0.0

    def _pass(self, passed_s: float) -> None:
        if not self._has_ended:
            self._append(self._grid.show_until(passed_s - AGREES_S))

    def _append(self, run: Run[T] | None) -> None:
        if run is not None:
            self._num_decided += run.num_frames
            self._runs.append((self._num_decided, run))


class LiveSource:
    """A FrameSource over a network source without a known end. A thread of its own reads it from
    the start.

    Second 0 is when the first grid frame is asked for, with the newest picture there is: a model
    may take its time to load. A source over HTTP with time stamps of its own may deliver ahead of
    time (segments of HLS, a file of unknown length); it is read in order from its first picture,
    and no further ahead than `MAX_WAITING_BYTES` allow.

    The clock goes on while nothing arrives, with the last picture on show. `num_dropped` and
    `max_lag_s` are as in `Waiting`. With `every_frame` frames are dropped only where too many wait,
    and a DroppedFramesWarning says so.
    """

    is_live = True
    duration_s: float | None = None
    second_0_s = 0.0

    def __init__(
        self,
        decoder: Decoder,
        clock: Clock,
        *,
        every_frame: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes over `decoder`, decodes its first picture and begins to read. Raises VideoError as
        it does."""
        from av.format import Flags

        self.frame_interval_s = clock.frame_interval_s
        self._decoder, self._every_frame, self._now = decoder, every_frame, now
        self._frames = decoder.frames()
        try:
            self._first = next(self._frames)
        except BaseException:
            decoder.close()
            raise
        self.info: VideoInfo = describe(decoder, self._first[1])
        has_stamps = not Flags(decoder.container.format.flags) & Flags.no_timestamps
        self._may_be_early = has_stamps and str(decoder.spec).startswith("http")
        max_waiting = max(2, MAX_WAITING_BYTES // (3 * self.info.height_px * self.info.width_px))
        times = ArrivalTimes(has_stamps=has_stamps, may_be_early=self._may_be_early)
        self._waiting: Waiting[VideoFrame] = Waiting(
            clock, times, max_waiting, every_frame=every_frame
        )
        self._started_at: float | None = None
        self._has_ended = self._closed = self._drops_reported = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read_on, name="oncue-live", daemon=True)
        self._thread.start()

    @property
    def num_dropped(self) -> int:
        return self._waiting.num_dropped

    @property
    def max_lag_s(self) -> float:
        return self._waiting.max_lag_s

    def read(self) -> FrameBatch | None:
        """The next grid frame; waits until it is there. None at the end, or when closed."""
        with self._changed:
            if self._started_at is None:
                self._started_at = self._now()
                self._waiting.add(*self._first, 0.0)
                if self._has_ended:
                    self._waiting.end(self._decoder.end_s)
                self._changed.notify_all()
            while not self._closed:
                run = self._waiting.take(self._passed_s())
                if run is not None:
                    self._changed.notify_all()
                    break
                if self._has_ended:
                    if self._error is not None:
                        raise self._error
                    return None
                self._changed.wait(self._waiting.wait_s(self._passed_s()))
            else:
                return None
        assert run.item is not None
        pixels = frame_to_rgb(run.item, self.info.height_px, self.info.width_px)
        return FrameBatch(pixels[None], np.array([run.pts_s], np.float64))

    def close(self) -> None:
        """Stop reading. The thread closes the connection, once the network lets go of it."""
        self._decoder.stop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_WAIT_S)

    def _passed_s(self) -> float:
        assert self._started_at is not None
        return self._now() - self._started_at

    def _read_on(self) -> None:
        try:
            if self._may_be_early:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._started_at is not None)
            while not self._closed and (placed := next(self._frames, None)) is not None:
                self._arrived(*placed)
        except Exception as error:  # carried to the reader
            self._error = error
        finally:
            with self._changed:
                if self._started_at is not None:
                    self._waiting.end(self._decoder.end_s)
                self._has_ended = True
                self._changed.notify_all()
            self._frames.close()
            self._decoder.close()

    def _arrived(self, stamp_s: float, picture: VideoFrame) -> None:
        arrived_at = self._now()
        with self._changed:
            if self._started_at is None:
                self._first = stamp_s, picture
                return
            while not self._closed and (full_s := self._waiting.make_room(self._passed_s())):
                self._changed.wait(full_s)
            self._waiting.add(stamp_s, picture, max(0.0, arrived_at - self._started_at))
            self._changed.notify_all()
            if self._every_frame and self._waiting.has_overflowed and not self._drops_reported:
                self._drops_reported = True
                self._tell_of_drops()

    def _tell_of_drops(self) -> None:
        warnings.warn(
            f"{source_name(self._decoder.spec)}: more pictures wait for the model than "
            f"{MAX_WAITING_BYTES >> 20} MiB "
            "hold; from now on the oldest are dropped",
            DroppedFramesWarning,
            stacklevel=2,
        )
