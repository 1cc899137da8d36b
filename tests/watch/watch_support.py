"""A source without a video file."""

from __future__ import annotations

import numpy as np

from oncue.types import FrameBatch


class ShadesSource:
    """Frames of one shade each, brighter with every second; ends after `num_frames`."""

    def __init__(self, num_frames: int, frame_interval_s: float = 1.0) -> None:
        self.frame_interval_s = frame_interval_s
        self.closed = False
        self._num_frames, self._shown = num_frames, 0

    def read(self) -> FrameBatch | None:
        if self._shown == self._num_frames:
            return None
        self._shown += 1
        pixels = np.full((1, 36, 64, 3), self._shown % 256, np.uint8)
        return FrameBatch(pixels, np.array([(self._shown - 0.5) * self.frame_interval_s]))

    def close(self) -> None:
        self.closed = True
