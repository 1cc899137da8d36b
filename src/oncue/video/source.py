"""Sources of frames on the grid: files and addresses, frames pushed from outside, and pacing in
real time."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncue.clock import Clock
from oncue.errors import ConfigError, VideoError
from oncue.types import FrameBatch, FrameSource
from oncue.video.decode import Decoder, frame_to_rgb
from oncue.video.live import LiveSource
from oncue.video.probe import VideoInfo, describe
from oncue.video.sample import Grid, Run

if TYPE_CHECKING:
    from av import VideoFrame

PUSH_STALL_S = 60.0


def open_source(
    spec: str, frame_interval_s: float, every_frame: bool = False
) -> FileSource | LiveSource:
    """The frames of a file or of a network address (http, rtsp, ...), one every `frame_interval_s`
    seconds.

    A network source without a known end is watched live: see `LiveSource`, also for `every_frame`.
    All others are read in order, and whole. A network source that gives nothing for 15 s is lost. A
    live one is then connected again, and `read` raises SourceLostError where it stays away. Raises
    VideoError for what cannot be watched, ConfigError for an interval that is not positive.
    """
    clock = _clock(frame_interval_s)
    decoder = Decoder(spec)
    if decoder.is_live:
        return LiveSource(decoder, clock, every_frame=every_frame)
    return FileSource(spec, frame_interval_s, decoder)


class FileSource:
    """A FrameSource over one file or URL; the first frame is decoded at once, so what cannot be
    watched fails here.

    An undamaged file of duration d has ceil(d / frame_interval_s) grid frames, at least 1; the last
    one shows the last picture even where less than an interval is left. Corrupt time passes with
    the last sound picture on show (black before the first), and a file cut off ends where its data
    ends; both give a CorruptStretchWarning. Every picture has the size of the first. `duration_s`
    is what the file declares, None where it does not; `second_0_s` is where the first picture is on
    the clock of a player, which begins with the sound where that begins earlier. A `decoder` that
    has the file open already is taken over.
    """

    def __init__(
        self, path: str | Path, frame_interval_s: float, decoder: Decoder | None = None
    ) -> None:
        self._clock = _clock(frame_interval_s)
        self.frame_interval_s = frame_interval_s
        self._decoder = decoder or Decoder(path)
        self._frames = self._decoder.frames()
        self._grid: Grid[VideoFrame] = Grid(self._clock)
        self._run: Run[VideoFrame] | None = None
        self._num_left = 0
        self._ended = False
        self._closed = False
        self._lock = threading.Lock()
        try:
            pts_s, frame = next(self._frames)
        except BaseException:
            self._decoder.close()
            raise
        self.info: VideoInfo = describe(self._decoder, frame)
        self.duration_s = self.info.duration_s
        self.second_0_s = self._decoder.second_0_s
        self._offer(pts_s, frame)

    @property
    def end_s(self) -> float | None:
        """Where the video ends: as declared, and once it was read to its end, as it is. None where
        neither is known."""
        if self._ended:
            return max(self._decoder.end_s, self._newest_s)
        return (
            None if self.duration_s is None or self._newest_s > self.duration_s else self.duration_s
        )

    def read(self) -> FrameBatch | None:
        """The next grid frame, (1, H, W, 3) with the true time of the picture shown; None at the
        end or when closed."""
        with self._lock:
            try:
                return None if self._closed else self._next()
            finally:
                if self._closed:
                    self._release()

    def close(self) -> None:
        """Free the file. A read under way in another thread frees it when it is done."""
        self._closed = True
        self._decoder.stop()
        if self._lock.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._lock.release()

    def _next(self) -> FrameBatch | None:
        while not self._num_left:
            if self._ended or self._closed:
                return None
            self._advance()
        self._num_left -= 1
        assert self._run is not None
        return _batch(self._pixels(self._run.item), self._run.pts_s)

    def _advance(self) -> None:
        placed = next(self._frames, None)
        if placed is not None:
            self._offer(*placed)
        else:
            self._ended = True
            self._take(self._grid.finish(self._decoder.end_s))

    def _offer(self, pts_s: float, frame: VideoFrame) -> None:
        self._newest_s = pts_s
        self._take(self._grid.offer(pts_s, frame))

    def _take(self, run: Run[VideoFrame] | None) -> None:
        self._run, self._num_left = run, run.num_frames if run else 0

    def _pixels(self, frame: VideoFrame | None) -> np.ndarray:
        height_px, width_px = self.info.height_px, self.info.width_px
        if frame is None:
            return np.zeros((height_px, width_px, 3), np.uint8)
        return frame_to_rgb(frame, height_px, width_px)

    def _release(self) -> None:
        self._frames.close()
        self._decoder.close()
        self._run, self._num_left = None, 0
        self._grid = Grid(self._clock)


class PushSource:
    """A FrameSource fed from outside: a camera, a socket, a generator; it may never end.

    One thread may push while another reads. Held are at most `max_pending` pictures, however fast
    frames are pushed; pictures that no tick of the clock shows are dropped at once.
    """

    def __init__(self, frame_interval_s: float, max_pending: int = 64) -> None:
        if max_pending < 1:
            raise ConfigError(f"max_pending must be at least 1, got {max_pending}")
        self._clock = _clock(frame_interval_s)
        self.frame_interval_s = frame_interval_s
        self.duration_s: float | None = None
        self._grid: Grid[np.ndarray] = Grid(self._clock)
        self._runs: deque[Run[np.ndarray]] = deque()
        self._num_taken = 0  # grid frames already read of the first run
        self._max_pending = max_pending
        self._last_s = 0.0
        self._shape: tuple[int, ...] | None = None
        self._ended = False
        self._closed = False
        self._changed = threading.Condition()

    def push(self, pixels: np.ndarray, pts_s: float, timeout_s: float = PUSH_STALL_S) -> None:
        """Show `pixels` (H, W, 3) uint8 RGB from `pts_s` on (seconds from the start of the stream,
        never going back).

        Waits while `max_pending` pictures wait to be read. Keeps a reference: do not change
        `pixels` afterwards. After `close` it does nothing. Raises VideoError for a bad frame or
        time, after `end`, or when nobody has read for `timeout_s`.
        """
        with self._changed:
            self._check(pixels, pts_s)
            if not self._changed.wait_for(
                lambda: self._closed or len(self._runs) < self._max_pending, timeout_s
            ):
                raise VideoError(
                    f"{self._max_pending} pushed pictures wait and nobody has read for "
                    f"{timeout_s:g} s; read in "
                    "another thread, or give a larger max_pending"
                )
            if self._closed:
                return
            self._shape, self._last_s = pixels.shape, pts_s
            self._add(self._grid.offer(pts_s, pixels))

    def end(self, duration_s: float | None = None) -> None:
        """No more frames will come. The stream ends at `duration_s`, else with its last frame.
        Twice does no harm."""
        with self._changed:
            if not self._ended and not self._closed:
                self._ended = True
                if self._shape is not None:
                    self._add(self._grid.finish(duration_s or 0.0))
            self._changed.notify_all()

    def read(self) -> FrameBatch | None:
        """The next grid frame; waits until it is decided. None at the end, or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._runs or self._ended or self._closed)
            if self._closed or not self._runs:
                return None
            run = self._runs[0]
            self._num_taken += 1
            if self._num_taken == run.num_frames:
                self._runs.popleft()
                self._num_taken = 0
                self._changed.notify_all()
        assert self._shape is not None
        return _batch(np.zeros(self._shape, np.uint8) if run.item is None else run.item, run.pts_s)

    def close(self) -> None:
        """Drop everything and wake whoever waits."""
        with self._changed:
            self._closed = True
            self._runs.clear()
            self._grid = Grid(self._clock)
            self._changed.notify_all()

    def _add(self, run: Run[np.ndarray] | None) -> None:
        if run is not None:
            self._runs.append(run)
            self._changed.notify_all()

    def _check(self, pixels: np.ndarray, pts_s: float) -> None:
        if self._ended:
            raise VideoError("a frame was pushed after end(); push all frames before it")
        if pixels.ndim != 3 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise VideoError(
                f"a pushed frame must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}"
            )
        if self._shape is not None and pixels.shape != self._shape:
            raise VideoError(
                f"a pushed frame must have the size of the first, {self._shape}, got {pixels.shape}"
            )
        if not (math.isfinite(pts_s) and pts_s >= self._last_s):
            raise VideoError(
                f"a pushed frame must not be earlier than the last, {self._last_s:g} s, got "
                f"{pts_s} s"
            )


class Paced:
    """A FrameSource that gives the frames of another as if it were live: the frame of clock t no
    earlier than t seconds after the first read. It never drops a frame, since a file can wait;
    where the reader is late, frames come at once. `max_lag_s`: how far behind its time the most
    delayed frame was handed out.
    """

    def __init__(self, source: FrameSource) -> None:
        self.frame_interval_s = source.frame_interval_s
        self.duration_s: float | None = getattr(source, "duration_s", None)
        self._source = source
        self._clock = Clock(source.frame_interval_s)
        self._started_at: float | None = None
        self._num_frames = 0
        self._closed = threading.Event()
        self.max_lag_s = 0.0

    def read(self) -> FrameBatch | None:
        """The next frame when its time has come; None at the end, and at once when closed."""
        if self._started_at is None:
            self._started_at = time.monotonic()
        batch = self._source.read()
        if batch is None:
            return None
        self._num_frames += len(batch)
        wait_s = self._started_at + self._clock.time_of(self._num_frames) - time.monotonic()
        self.max_lag_s = max(self.max_lag_s, -wait_s)
        return None if self._closed.wait(max(wait_s, 0.0)) else batch

    def close(self) -> None:
        self._closed.set()
        self._source.close()


def frames_of(source: FrameSource) -> Iterator[FrameBatch]:
    """All grid frames of a source, which is closed in the end."""
    try:
        while (batch := source.read()) is not None:
            yield batch
    finally:
        source.close()


def _batch(pixels: np.ndarray, pts_s: float) -> FrameBatch:
    return FrameBatch(pixels[None], np.array([pts_s], np.float64))


def _clock(frame_interval_s: float) -> Clock:
    try:
        return Clock(frame_interval_s)
    except ValueError as error:
        raise ConfigError(str(error)) from error
