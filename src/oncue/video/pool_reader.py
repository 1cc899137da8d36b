"""Reads the frame pool of a video, and looks closer at a stretch of it.

A pool needs a few pictures of a long video. Where the container or its packets say where decoding
can begin, only the stretches that lead to those pictures are decoded (`oncue.video.jumps`).
Everywhere else the video is decoded from its beginning. The frames are the same.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncue.errors import InputError
from oncue.types import FrameBatch
from oncue.video.decode import Decoder, frame_to_rgb
from oncue.video.jumps import EPSILON_S, Jumps, OddVideoError
from oncue.video.landmarks import Landmarks, find_landmarks, refuse_live
from oncue.video.opening import is_url
from oncue.video.pool import FramePool, frame_time_s

if TYPE_CHECKING:
    from av import VideoFrame

Shrink = Callable[[np.ndarray], np.ndarray]
OnFrames = Callable[[int], None]  # is called with how many frames are there so far
MOST_READERS = 4  # threads, each with the file open for itself
LEAST_JUMPS = 4  # of a reader


def read_pool(
    path: str | Path,
    num_frames: int,
    *,
    shrink: Shrink | None = None,
    on_frames: OnFrames | None = None,
) -> FramePool:
    """The pool of `num_frames` frames of a file or address with an end.

    Frame i is the picture on show at (i + .5) D / num_frames of a video of D seconds: the newest
    whose time is not later, as `oncue watch` shows it; black where none could be decoded yet. All
    have the size of the first picture. `shrink` is applied to each picture as it comes, (H, W, 3)
    to (h, w, 3) uint8 RGB, perhaps in several threads, so that memory is that of the frames as they
    are used. `on_frames` is called in the same threads; its number falls where reading begins once
    more. Damage that is met is skipped with a CorruptStretchWarning.

    Raises InputError for a live source, VideoError for what cannot be opened or has no picture.
    """
    if num_frames < 1:
        raise InputError(f"a pool needs at least 1 frame, got {num_frames}")
    landmarks = find_landmarks(path)
    if landmarks is not None:
        times_s = _middles(0.0, landmarks.end_s, num_frames)
        if landmarks.num_jumps(times_s):
            with contextlib.suppress(OddVideoError):
                kept = _Kept(num_frames, shrink, on_frames)
                return FramePool(_read_by_jumps(path, landmarks, times_s, kept), landmarks.end_s)
    return decode_pool(path, num_frames, shrink=shrink, on_frames=on_frames)


def decode_pool(
    path: str | Path,
    num_frames: int,
    *,
    shrink: Shrink | None = None,
    on_frames: OnFrames | None = None,
) -> FramePool:
    """The pool as `read_pool` gives it, but by decoding all of the video: once, and once more where
    it turns out not to be as long as it declares."""
    duration_s: float | None = None
    while True:
        decoder = Decoder(path, is_quiet=duration_s is not None)
        tried_s = duration_s or decoder.declared_s
        kept = _Kept(num_frames, shrink, on_frames)
        picks = _Picks(_middles(0.0, tried_s, num_frames) if tried_s else [], kept)
        newest_s = 0.0
        try:
            refuse_live(decoder)
            for time_s, frame in decoder.frames():
                picks.take(time_s, frame)
                newest_s = time_s
        finally:
            decoder.close()
        is_second, duration_s = duration_s is not None, max(decoder.end_s, newest_s)
        if tried_s is not None and (is_second or duration_s == tried_s):
            picks.finish()
            return FramePool(kept.batch(), tried_s)


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
        return self.at(_middles(start_s, end_s, num_frames))

    def at(self, times_s: Sequence[float]) -> FrameBatch:
        """The pictures on show at `times_s`, one or more, which never go back."""
        times_s = [max(0.0, time_s) for time_s in times_s]
        if self._landmarks is not None:
            try:
                kept = _Kept(len(times_s), self._shrink)
                return _read_by_jumps(self._path, self._landmarks, times_s, kept)
            except OddVideoError:
                self._landmarks = None  # nor will it be sound next time
        kept = _Kept(len(times_s), self._shrink)
        picks = _Picks(times_s, kept)
        decoder = Decoder(self._path)
        try:
            with contextlib.closing(decoder.frames()) as frames:
                picks.take_all(frames)
        finally:
            decoder.close()
        picks.finish()
        return kept.batch()


def _middles(start_s: float, end_s: float, num_frames: int) -> list[float]:
    """The times of `num_frames` frames: the middles of equal parts of the stretch."""
    return [start_s + frame_time_s(i, num_frames, end_s - start_s) for i in range(num_frames)]


def _read_by_jumps(
    path: str | Path, landmarks: Landmarks, times_s: Sequence[float], kept: _Kept
) -> FrameBatch:
    """Raises OddVideoError where the video is not as its landmarks promise."""
    most = landmarks.num_jumps(times_s) // LEAST_JUMPS  # each decodes up to one stretch in vain
    num_readers = max(1, min(_num_cores(), MOST_READERS, most))
    bounds = [len(times_s) * k // num_readers for k in range(num_readers + 1)]
    stopped = threading.Event()

    def read_part(first: int, end: int) -> None:
        picks = _Picks(times_s[first:end], kept, first)
        decoder = Decoder(path, is_quiet=True)
        try:
            frames = Jumps(decoder, landmarks, times_s[first:end]).frames()
            picks.take_all(takewhile(lambda _: not stopped.is_set(), frames))
            picks.finish()
        except BaseException:
            stopped.set()
            raise
        finally:
            decoder.close()

    if num_readers == 1 or is_url(path):
        read_part(0, len(times_s))
        return kept.batch()
    with ThreadPoolExecutor(num_readers, "oncue-pool") as executor:
        try:
            list(executor.map(read_part, bounds[:-1], bounds[1:]))
        except BaseException:  # Ctrl-C, too: nobody waits for the rest
            stopped.set()
            raise
    return kept.batch()


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Picks:
    """Takes pictures in order of time, and keeps those on show at `times_s`, which never go back;
    the first of them is frame `offset` of what is kept."""

    def __init__(self, times_s: Sequence[float], kept: _Kept, offset: int = 0) -> None:
        self._times_s, self._kept, self._offset = times_s, kept, offset
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

    def finish(self) -> None:
        """Nothing comes any more: all frames that are left show the last picture."""
        self._show(self._num_done, len(self._times_s))

    def _show(self, first: int, end: int) -> None:
        """Let frames `first` to `end` (not inside) show the newest picture; black without one."""
        if first == end or self._size is None:
            return
        if self._newest is None:
            time_s, pixels = 0.0, np.zeros((*self._size, 3), np.uint8)
        else:
            time_s, pixels = self._newest[0], frame_to_rgb(self._newest[1], *self._size)
        self._kept.put(self._offset + first, self._offset + end, time_s, pixels)


class _Kept:
    """The frames of a pool as they come, from several threads; memory is taken once their size is
    known."""

    def __init__(
        self, num_frames: int, shrink: Shrink | None, on_frames: OnFrames | None = None
    ) -> None:
        self._shrink, self._on_frames = shrink, on_frames
        self._num_frames = 0  # that are there
        self._pixels: np.ndarray | None = None  # (M, h, w, 3)
        self._pts_s = np.zeros(num_frames)
        self._lock = threading.Lock()

    def put(self, first: int, end: int, time_s: float, pixels: np.ndarray) -> None:
        """Frames `first` to `end` (not inside) are the picture of `time_s`."""
        if self._shrink is not None:
            pixels = self._shrink(pixels)
        with self._lock:
            if self._pixels is None:
                self._pixels = np.empty((len(self._pts_s), *pixels.shape), pixels.dtype)
        if pixels.shape != self._pixels.shape[1:]:
            raise ValueError(
                f"shrink must give all frames one size, got {pixels.shape} and "
                f"{self._pixels.shape[1:]}"
            )
        self._pixels[first:end] = pixels
        self._pts_s[first:end] = time_s
        with self._lock:
            self._num_frames += end - first
            if self._on_frames is not None:
                self._on_frames(self._num_frames)

    def batch(self) -> FrameBatch:
        """All of them."""
        assert self._pixels is not None, "the decoder raises VideoError where there is no picture"
        return FrameBatch(self._pixels, self._pts_s)
