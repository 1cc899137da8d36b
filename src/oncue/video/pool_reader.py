"""Reads the frame pool of a video, and looks closer at a stretch of it.

A pool needs a few pictures of a long video. Where the container or its packets say where decoding
can begin, only the stretches that lead to those pictures are decoded (`oncue.video.jumps`).
Everywhere else the video is decoded from its beginning. The frames are the same.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncue.errors import InputError, VideoError
from oncue.types import FrameBatch
from oncue.video.decode import Decoder, frame_to_rgb
from oncue.video.jumps import EPSILON_S, Jumps, OddVideoError
from oncue.video.landmarks import Landmarks, find_landmarks
from oncue.video.pool import FramePool, frame_time_s

if TYPE_CHECKING:
    from av import VideoFrame

Shrink = Callable[[np.ndarray], np.ndarray]


def read_pool(path: str | Path, num_frames: int, *, shrink: Shrink | None = None) -> FramePool:
    """The pool of `num_frames` frames of a file or address with an end.

    Frame i is the picture on show at (i + .5) D / num_frames of a video of D seconds: the newest
    whose time is not later, as `oncue watch` shows it; black where none could be decoded yet. All
    have the size of the first picture. `shrink` is applied to each as it comes, (H, W, 3) to (h, w,
    3) uint8 RGB, so that memory is that of the frames as they are used. What is damaged is skipped
    with a CorruptStretchWarning, if it is met: a sound stretch between two frames is not read.

    Raises InputError for a live source, VideoError for what cannot be opened or has no picture.
    """
    if num_frames < 1:
        raise InputError(f"a pool needs at least 1 frame, got {num_frames}")
    landmarks = find_landmarks(path)
    if landmarks is not None:
        with contextlib.suppress(OddVideoError):
            times_s = _middles(0.0, landmarks.end_s, num_frames)
            frames = _read_by_jumps(path, landmarks, times_s, shrink)
            return FramePool(frames, landmarks.end_s)
    return decode_pool(path, num_frames, shrink=shrink)


def decode_pool(path: str | Path, num_frames: int, *, shrink: Shrink | None = None) -> FramePool:
    """The pool as `read_pool` gives it, but by decoding all of the video: once, and once more where
    it turns out not to be as long as it declares."""
    duration_s: float | None = None
    while True:
        decoder = Decoder(path, is_quiet=duration_s is not None)
        tried_s = duration_s or decoder.declared_s
        picks = _Picks(_middles(0.0, tried_s, num_frames) if tried_s else [], shrink)
        newest_s = 0.0
        try:
            for time_s, frame in decoder.frames():
                picks.take(time_s, frame)
                newest_s = time_s
        finally:
            decoder.close()
        is_second, duration_s = duration_s is not None, max(decoder.end_s, newest_s)
        if tried_s is not None and (is_second or duration_s == tried_s):
            return FramePool(picks.finish(), tried_s)


def zoom_of(path: str | Path, *, shrink: Shrink | None = None) -> VideoZoom:
    """A `Zoom` into the same video as `read_pool`, with frames of the same size."""
    return VideoZoom(path, find_landmarks(path), shrink)


class VideoZoom:
    """See `oncue.video.pool.Zoom`. Before the video its first picture is on show, after it its
    last."""

    def __init__(
        self, path: str | Path, landmarks: Landmarks | None, shrink: Shrink | None
    ) -> None:
        self._path, self._landmarks, self._shrink = path, landmarks, shrink

    def __call__(self, start_s: float, end_s: float, num_frames: int) -> FrameBatch:
        if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s):
            raise InputError(
                f"a stretch must go from an earlier to a later time, got {start_s} s to {end_s} s"
            )
        if num_frames < 1:
            raise InputError(f"a look needs at least 1 frame, got {num_frames}")
        times_s = [max(0.0, time_s) for time_s in _middles(start_s, end_s, num_frames)]
        if self._landmarks is not None:
            try:
                return _read_by_jumps(self._path, self._landmarks, times_s, self._shrink)
            except OddVideoError:
                self._landmarks = None  # nor will it be sound next time
        picks = _Picks(times_s, self._shrink)
        decoder = Decoder(self._path)
        try:
            with contextlib.closing(decoder.frames()) as frames:
                picks.take_all(frames)
        finally:
            decoder.close()
        return picks.finish()


def _middles(start_s: float, end_s: float, num_frames: int) -> list[float]:
    """The times of `num_frames` frames: the middles of equal parts of the stretch."""
    return [start_s + frame_time_s(i, num_frames, end_s - start_s) for i in range(num_frames)]


def _read_by_jumps(
    path: str | Path, landmarks: Landmarks, times_s: Sequence[float], shrink: Shrink | None
) -> FrameBatch:
    """Raises OddVideoError where the video is not as its landmarks promise."""
    picks = _Picks(times_s, shrink)
    decoder = Decoder(path, is_quiet=True)
    try:
        picks.take_all(Jumps(decoder, landmarks, times_s).frames())
    finally:
        decoder.close()
    return picks.finish()


class _Picks:
    """Takes pictures in order of time, and keeps those on show at `times_s`, which never go
    back."""

    def __init__(self, times_s: Sequence[float], shrink: Shrink | None) -> None:
        self._times_s, self._shrink = times_s, shrink
        self._pixels: np.ndarray | None = None  # (M, h, w, 3), made when the size is known
        self._pts_s = np.zeros(len(times_s))
        self._num_done = 0
        self._size: tuple[int, int] | None = None
        self._newest: tuple[float, VideoFrame] | None = None

    def take_all(self, frames: Iterable[tuple[float, VideoFrame]]) -> None:
        """Take what is needed of `frames`."""
        for time_s, frame in frames:
            self.take(time_s, frame)
            if self._num_done == len(self._times_s):
                return

    def take(self, time_s: float, frame: VideoFrame) -> None:
        first = self._num_done
        while self._num_done < len(self._times_s) and (
            time_s > self._times_s[self._num_done] + EPSILON_S
        ):
            self._num_done += 1
        if self._size is None:
            self._size = frame_to_rgb(frame).shape[:2]
        self._show(first, self._num_done)
        self._newest = time_s, frame

    def finish(self) -> FrameBatch:
        """All frames, the last picture where no later one came."""
        self._show(self._num_done, len(self._times_s))
        if self._pixels is None:
            raise VideoError("no picture was decoded")
        return FrameBatch(self._pixels, self._pts_s)

    def _show(self, first: int, end: int) -> None:
        """Let frames `first` to `end` (not inside) be the newest picture; black without one."""
        if first == end or self._size is None:
            return
        time_s, frame = self._newest or (0.0, None)
        height_px, width_px = self._size
        if frame is None:
            pixels = np.zeros((height_px, width_px, 3), np.uint8)
        else:
            pixels = frame_to_rgb(frame, height_px, width_px)
        if self._shrink is not None:
            pixels = self._shrink(pixels)
        if self._pixels is None:
            self._pixels = np.empty((len(self._times_s), *pixels.shape), pixels.dtype)
        if pixels.shape != self._pixels.shape[1:]:
            raise ValueError(
                f"shrink must give all frames one size, got {pixels.shape} after "
                f"{self._pixels.shape[1:]}"
            )
        self._pixels[first:end] = pixels
        self._pts_s[first:end] = time_s
