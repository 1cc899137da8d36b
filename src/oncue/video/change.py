"""How much a picture has changed, cheaply: small grey versions, in which noise averages out and
things stay."""

from __future__ import annotations

import numpy as np
from PIL import Image

GREY_SIZE_PX = (32, 32)  # (width, height)


def small_grey(pixels: np.ndarray) -> np.ndarray:
    """The frame (H, W, 3) uint8 RGB as (32, 32) float32 grey levels, 0 to 255; each the mean of its
    part."""
    return np.asarray(
        Image.fromarray(pixels).convert("L").resize(GREY_SIZE_PX, Image.Resampling.BOX), np.float32
    )


def grey_difference(small: np.ndarray, other: np.ndarray) -> float:
    """The mean absolute difference of two small grey pictures, 0 to 255."""
    return float(np.abs(small - other).mean())
