"""The pool of frames that a policy can look into: a few frames of the whole video, and which of
them a look shows.

Axis letters: M frames of the pool, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oncue.types import FrameBatch, TimeSpan


def frame_time_s(index: int, num_frames: int, duration_s: float) -> float:
    """The video time of frame `index` of a pool: the middle of its part of the video, to the
    nanosecond (as `Clock.time_of`), so that a span that ends there holds it."""
    return round((index + 0.5) * duration_s / num_frames, 9)


def spread(first: int, last: int, most: int) -> list[int]:
    """At most `most` indices from `first` to `last`, both inside, evenly spread and rounded down;
    at least one. Raises ValueError for `last` before `first`. Source: Video-MTR, appendix A.2 and
    the released code."""
    if last < first:
        raise ValueError(f"a range of frames must not end before it starts, got {first} to {last}")
    num = max(1, min(last - first + 1, most))
    return [int(i) for i in np.linspace(first, last, num, dtype=int)]


def index_at(time_s: float, num_frames: int, duration_s: float) -> int:
    """The index of the frame whose part of the video holds `time_s`; the nearest one for times
    outside."""
    return min(max(int(time_s * num_frames / duration_s), 0), num_frames - 1)


def frames_within(spans: Iterable[TimeSpan], num_frames: int, duration_s: float) -> frozenset[int]:
    """The indices of the frames whose time lies in one of `spans`; of a span that holds none, the
    frame nearest to its middle. What of a span lies outside the video (before 0 or after
    `duration_s`) counts for nothing, so that one wholly outside gives no frame."""
    found: set[int] = set()
    for span in spans:
        if span.end_s < 0 or span.start_s > duration_s:
            continue
        inside = {i for i in range(num_frames) if frame_time_s(i, num_frames, duration_s) in span}
        middle_s = (max(span.start_s, 0.0) + min(span.end_s, duration_s)) / 2
        found |= inside or {index_at(middle_s, num_frames, duration_s)}
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class FramePool:
    """M frames over the whole of a video: `frames` in order of time, with the true time of each
    picture (`pts_s`), and the length of the video. Frame i is the picture at (i + .5) D / M."""

    frames: FrameBatch
    duration_s: float

    def __post_init__(self) -> None:
        if not len(self.frames) or not self.duration_s > 0:
            raise ValueError(
                "a pool needs at least one frame and a duration above 0, got "
                f"{len(self.frames)} frames and {self.duration_s} s"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def time_of(self, index: int) -> float:
        """The video time, in seconds, that frame `index` is for."""
        return frame_time_s(index, len(self), self.duration_s)

    def take(self, indices: Iterable[int], marks: Iterable[str] = ()) -> FrameBatch:
        """The frames of `indices`, in that order, with their `marks`. Raises IndexError for an
        index outside the pool."""
        chosen = list(indices)
        if outside := [i for i in chosen if not 0 <= i < len(self)]:
            raise IndexError(f"indices of a pool of {len(self)} frames go from 0, got {outside}")
        return FrameBatch(
            self.frames.pixels[chosen], self.frames.pts_s[chosen], tuple(marks), tuple(chosen)
        )


class Zoom(Protocol):
    """Looks at a video more closely than its pool: see `oncue.video.pool_reader`."""

    def __call__(self, start_s: float, end_s: float, num_frames: int) -> FrameBatch:
        """`num_frames` frames from `start_s` to `end_s`: frame i is the picture at
        `start_s` + (i + .5) (end_s - start_s) / num_frames."""
        ...
