"""Pictures made as small as a model sees them, so that a pool of them is small."""

from __future__ import annotations

import numpy as np

from oncue.errors import InputError
from oncue.render.images import FrameProcessor
from oncue.video.pool_reader import Shrink


def shrink_by(frames: FrameProcessor) -> Shrink:
    """Resizes as `frames` does, where doing so twice is the same as once; else leaves a picture as
    it is."""

    def shrink(pixels: np.ndarray) -> np.ndarray:
        size = frames.resized_px(*pixels.shape[:2])
        return np.asarray(frames.resized(pixels)) if _stays(frames, size) else pixels

    return shrink


def _stays(frames: FrameProcessor, size: tuple[int, int]) -> bool:
    """Whether a picture of `size` keeps it; a strip that is too long for the limits does not."""
    try:
        return frames.resized_px(*size) == size
    except InputError:
        return False
