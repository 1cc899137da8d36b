"""The frames of a video in a random order: a control that keeps every picture and takes away what
happens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncue.clock import Clock
from oncue.types import FrameBatch, FrameSource
from oncue.video.source import frames_of


def shuffled_order(num_frames: int, seed: Sequence[int]) -> list[int]:
    """The numbers of the frames in the order in which they are shown, which follows from `seed`."""
    return [int(i) for i in np.random.default_rng(seed).permutation(num_frames)]


class ShuffledSource:
    """The frames of another source in the `shuffled_order` of `seed`. Holds all of them: for short
    clips.

    A frame bears the time of the turn that shows it.
    """

    def __init__(self, source: FrameSource, seed: Sequence[int]) -> None:
        self.frame_interval_s = source.frame_interval_s
        self.duration_s: float | None = getattr(source, "duration_s", None)
        self._clock = Clock(source.frame_interval_s)
        frames = list(frames_of(source))
        self._frames = [frames[i] for i in shuffled_order(len(frames), seed)]
        self._num_read = 0

    def read(self) -> FrameBatch | None:
        """The next frame, None after the last."""
        if self._num_read == len(self._frames):
            return None
        self._num_read += 1
        pixels = self._frames[self._num_read - 1].pixels
        return FrameBatch(pixels, np.array([self._clock.time_of(self._num_read)]))

    def close(self) -> None:
        self._frames, self._num_read = [], 0
