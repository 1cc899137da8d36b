"""Painting tools shared by the worlds: smooth noise, masks, and compositing on uint8 RGB arrays."""

from __future__ import annotations

import numpy as np
from PIL import Image


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """(height, width) float32 in about [-1, 1], with blobs of about height / `cells` pixels."""
    small = rng.uniform(-1, 1, size=(cells + 1, max(2, round(cells * width / height)) + 1)).astype(
        np.float32
    )
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def ellipse_mask(height: int, width: int, power: float = 2.0) -> np.ndarray:
    """(height, width) float32 in [0, 1]: a superellipse that fills the box; soft edge of about one
    pixel."""
    y = np.abs((np.arange(height) + 0.5) / height * 2 - 1)[:, None]
    x = np.abs((np.arange(width) + 0.5) / width * 2 - 1)[None, :]
    level = (y**power + x**power) ** (1 / power)
    return np.clip((1 - level) * min(height, width) / 2 + 0.5, 0, 1).astype(np.float32)


def blend(canvas: np.ndarray, sprite: np.ndarray, alpha: np.ndarray, top: int, left: int) -> None:
    """Draws `sprite` (h, w, 3) with `alpha` (h, w) into `canvas` (H, W, 3) float32 in place,
    clipped at the borders."""
    y0, x0 = max(top, 0), max(left, 0)
    y1 = min(top + sprite.shape[0], canvas.shape[0])
    x1 = min(left + sprite.shape[1], canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    a = alpha[part][..., None]
    canvas[y0:y1, x0:x1] += a * (sprite[part] - canvas[y0:y1, x0:x1])
