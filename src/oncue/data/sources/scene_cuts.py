"""Scenes from the pictures of a video of which nothing is written and nothing is said.

Cuts are where PySceneDetect's AdaptiveDetector finds them (`pip install scenedetect-headless`).
The pictures are read as everywhere here, on a grid of time: so times are those that a model is
shown, also where the rate of a file varies, and damage is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from oncue.clock import Clock
from oncue.data.sources.segments import LONGEST_SCENE_S, SHORTEST_SCENE_S
from oncue.errors import ConfigError
from oncue.extras import install_command
from oncue.types import TimeSpan
from oncue.video.excerpt import open_excerpt

PACKAGE = "scenedetect-headless"
_WIDTH_PX = 256  # as wide as pictures need be to compare them


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """How scenes are found in pictures.

    A scene shorter than `shortest_s` is joined to the shorter of its neighbours; one longer than
    `longest_s` is cut into equal parts. A cut is where the difference of two pictures is
    `adaptive_threshold` times that of the pictures around them, and at least `min_content` (mean
    change of hue, saturation and lightness, of 255). `frame_interval_s`: between the pictures that
    are compared.
    """

    shortest_s: float = SHORTEST_SCENE_S
    longest_s: float = LONGEST_SCENE_S
    adaptive_threshold: float = 3.0
    min_content: float = 15.0
    frame_interval_s: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.frame_interval_s <= self.shortest_s:
            raise ConfigError(
                "frame_interval_s must be more than 0 and at most shortest_s, got "
                f"{self.frame_interval_s} and {self.shortest_s}"
            )
        if not 2 * self.shortest_s <= self.longest_s < math.inf:
            raise ConfigError(
                f"longest_s must be at least twice shortest_s, got {self.longest_s} and "
                f"{self.shortest_s}"
            )
        if not (self.adaptive_threshold > 0 and self.min_content > 0):
            raise ConfigError(
                "adaptive_threshold and min_content must be more than 0, got "
                f"{self.adaptive_threshold} and {self.min_content}"
            )


def find_scenes(
    path: str | Path, part: TimeSpan | None = None, settings: SceneSettings = SceneSettings()
) -> tuple[TimeSpan, ...]:
    """The scenes of a video, in order, at least one, without gaps: seconds from the start of its
    `part`.

    `part`: the stretch of the file to look at, in seconds of the file; None: all of it. Every frame
    up to its end is decoded, so this takes its time. Raises VideoError for what cannot be watched,
    or ends before `part` begins, and ConfigError where PySceneDetect is not installed.
    """
    detector = _new_detector(settings)
    start_s, end_s = (part.start_s, part.end_s) if part is not None else (0.0, None)
    source = open_excerpt(path, settings.frame_interval_s, start_s, end_s)
    clock = Clock(settings.frame_interval_s)
    cuts_s: list[float] = []
    num_frames = 0
    try:
        declared_s = source.duration_s
        while (shown := source.read()) is not None:
            num_frames += 1
            now_s = clock.time_of(num_frames)
            cuts_s += _cuts_at(detector, now_s, shown.pixels[0], settings)
    finally:
        source.close()
    seen_s = clock.time_of(num_frames)
    length_s = seen_s if declared_s is None else min(seen_s, declared_s)
    return fit_scenes(cuts_s, round(length_s, 6), settings)


def fit_scenes(
    cuts_s: Sequence[float], length_s: float, settings: SceneSettings
) -> tuple[TimeSpan, ...]:
    """The scenes between these cuts of a video of `length_s`, none too short or too long, except
    that a video shorter than `shortest_s` is one scene."""
    inside = sorted({round(cut, 6) for cut in cuts_s if 0 < cut < length_s})
    borders = [0.0, *inside, length_s]
    while len(borders) > 2:
        lengths = np.diff(borders)
        shortest = int(np.argmin(lengths))
        if lengths[shortest] >= settings.shortest_s - 1e-9:
            break
        is_first, is_last = shortest == 0, shortest == len(lengths) - 1
        joins_left = not is_first and (is_last or lengths[shortest - 1] <= lengths[shortest + 1])
        del borders[shortest if joins_left else shortest + 1]
    return tuple(_equal_parts(borders, settings.longest_s))


def _equal_parts(borders: Sequence[float], longest_s: float) -> Iterator[TimeSpan]:
    for start_s, end_s in pairwise(borders):
        num_parts = max(1, math.ceil((end_s - start_s) / longest_s - 1e-9))
        marks = [round(start_s + (end_s - start_s) * k / num_parts, 6) for k in range(num_parts)]
        for begin_s, until_s in zip(marks, [*marks[1:], end_s], strict=True):
            yield TimeSpan(begin_s, until_s)


def _new_detector(settings: SceneSettings) -> Any:
    try:
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise ConfigError(
            f"scenes of videos without annotations need PySceneDetect; install it with "
            f"{install_command(PACKAGE)}"
        ) from error
    # Short scenes are joined by `fit_scenes`
    return AdaptiveDetector(
        adaptive_threshold=settings.adaptive_threshold,
        min_scene_len=0,
        min_content_val=settings.min_content,
    )


def _cuts_at(
    detector: Any, time_s: float, pixels: np.ndarray, settings: SceneSettings
) -> list[float]:
    """The cuts that are known once the picture of `time_s` was seen, (H, W, 3) uint8 RGB."""
    from scenedetect.common import FrameTimecode

    picture = Image.fromarray(pixels)
    small = picture.reduce(max(1, picture.width // _WIDTH_PX))
    bgr = np.ascontiguousarray(np.asarray(small)[:, :, ::-1])
    timecode = FrameTimecode(float(time_s), fps=1 / settings.frame_interval_s)
    return [float(found.seconds) for found in detector.process_frame(timecode, bgr)]
