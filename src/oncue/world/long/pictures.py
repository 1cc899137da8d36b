"""The pictures of long films: a white shape, or none, on a dark ground or one in the colour of a
flash. Place and brightness differ a little from second to second.

Axis letters: F frames, M frames of a pool, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from oncue.types import FrameBatch
from oncue.video.jumps import EPSILON_S
from oncue.video.pool import FramePool, frame_time_s
from oncue.world.long.film import COLOURS, FRAME_RATE, Film

_INK = 240  # of shapes
_RADIUS, _FARTHEST = 0.32, 0.06  # of a shape, and from the middle, in sizes of the picture
_GROUND, _SWAY, _SWAY_S, _NOISE = 35.0, 20.0, 37.0, 12.0
_OVERSAMPLED = 4  # so that edges are smooth


def film_frames(film: Film, size_px: int) -> Iterator[np.ndarray]:
    """The frames of its file, each (H, W, 3) uint8 RGB, `FRAME_RATE` a second."""
    ticks = range(film.duration_s * FRAME_RATE)
    shown: tuple[object, ...] = ()
    for tick in ticks:
        now = (tick // FRAME_RATE, *film.shown_at(tick / FRAME_RATE))
        if now != shown:
            shown, pixels = now, _draw(film, [tick], size_px)[0]
        yield pixels


def draw_pool(film: Film, num_frames: int, size_px: int) -> FramePool:
    """The pool of M frames that `read_pool` reads from its file, drawn without the file and without
    the traces of compression."""
    times_s = [frame_time_s(i, num_frames, film.duration_s) for i in range(num_frames)]
    ticks = [math.floor(time_s * FRAME_RATE + EPSILON_S) for time_s in times_s]
    pixels = _draw(film, ticks, size_px)
    return FramePool(FrameBatch(pixels, np.array(ticks) / FRAME_RATE), film.duration_s)


def _draw(film: Film, ticks: Sequence[int], size_px: int) -> np.ndarray:
    """(F, H, W, 3) uint8 RGB: frames number `ticks` of the file."""
    shown = [film.shown_at(tick / FRAME_RATE) for tick in ticks]
    seconds = np.array(ticks) // FRAME_RATE
    # Of each second from -1 to 1: three colours, and the place of the shape
    signed = 2 * np.random.default_rng(film.seed).random((film.duration_s, 5))[seconds] - 1
    levels = _GROUND + _SWAY * np.sin(2 * math.pi * seconds / _SWAY_S)
    colours = [
        COLOURS.get(colour, (level,) * 3) for (_, colour), level in zip(shown, levels, strict=True)
    ]
    grounds = np.clip(np.array(colours) + _NOISE * signed[:, :3], 0, 255).astype(np.uint16)
    steps = np.rint(_FARTHEST * size_px * signed[:, 3:]).astype(int)
    covers = np.zeros((len(ticks), size_px, size_px), np.uint16)
    for number, (shape, _) in enumerate(shown):
        if shape:
            covers[number] = _cover(shape, size_px, *steps[number])
    inked = covers[..., None]
    return ((grounds[:, None, None] * (255 - inked) + _INK * inked) // 255).astype(np.uint8)


def _cover(shape: str, size_px: int, right: int, down: int) -> np.ndarray:
    """(H, W) uint8: how much of each pixel a shape covers, 255 for all of it."""
    margin, canvas = _canvas(shape, size_px)
    top, left = margin - down, margin - right
    return canvas[top : top + size_px, left : left + size_px]


@lru_cache(maxsize=64)
def _canvas(shape: str, size_px: int) -> tuple[int, np.ndarray]:
    """A shape in the middle of a larger square, and how much wider that is on each side."""
    margin = math.ceil(_FARTHEST * size_px)
    size = (size_px + 2 * margin) * _OVERSAMPLED
    image = Image.new("L", (size, size), 0)
    _paint(ImageDraw.Draw(image), shape, size / 2, _RADIUS * size_px * _OVERSAMPLED)
    return margin, np.asarray(image.reduce(_OVERSAMPLED))


def _paint(draw: ImageDraw.ImageDraw, shape: str, middle: float, r: float) -> None:
    low, high, thin = middle - r, middle + r, r / 3
    across = (low, middle - thin, high, middle + thin)
    if shape == "square":
        draw.rectangle((low, low, high, high), fill=255)
    elif shape == "circle":
        draw.ellipse((low, low, high, high), fill=255)
    elif shape == "ring":
        draw.ellipse((low, low, high, high), outline=255, width=round(r / 3))
    elif shape in ("bar", "cross"):
        draw.rectangle(across, fill=255)
        if shape == "cross":
            draw.rectangle((middle - thin, low, middle + thin, high), fill=255)
    else:
        draw.polygon(_corners(shape, middle, r), fill=255)


def _corners(shape: str, middle: float, r: float) -> list[tuple[float, float]]:
    if shape == "triangle":
        return [(middle - r, middle + r), (middle + r, middle + r), (middle, middle - r)]
    if shape == "diamond":
        return [
            (middle - r, middle),
            (middle, middle - r),
            (middle + r, middle),
            (middle, middle + r),
        ]
    assert shape == "star", shape
    turns = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
    radii = [(1.15 if k % 2 == 0 else 0.45) * r for k in range(10)]
    return [
        (middle + a * math.cos(turn), middle + a * math.sin(turn))
        for turn, a in zip(turns, radii, strict=True)
    ]
