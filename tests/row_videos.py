"""Small videos for rows: picture n, of ten a second, has grey level 6 n."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oncue.video.writer import write_video

STEP = 6


def numbered_video(path: Path, num_frames: int) -> Path:
    """A video of `num_frames` pictures of 160x64, at most 42 of them."""
    assert num_frames * STEP < 256
    frames = (np.full((64, 160, 3), STEP * n, np.uint8) for n in range(num_frames))
    write_video(path, frames, 10.0, crf=1)
    return path


def number_of(pixels: np.ndarray) -> int:
    """The number of the picture that is shown."""
    return round(float(pixels.mean()) / STEP)
