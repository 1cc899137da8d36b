"""The pictures a dialogue names: image files, or moments of videos written as media fragments (`clip.mp4#t=12.5`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncue.errors import DataError

_MOMENT = re.compile(r"#t=(\d+(?:\.\d+)?)$")


def locate(path: Path, folder: Path) -> Path:
    """`path` as it stands beside a file in `folder`, where it exists there; else as it is. A moment keeps its mark."""
    beside = folder / path
    return beside if Path(_MOMENT.sub("", str(beside))).is_file() else path


def load_frames(paths: Sequence[Path | str]) -> list[np.ndarray]:
    """(H, W, 3) uint8 RGB for each path, in order; each video is decoded once.

    A moment shows the newest frame at or before it (a moment after the end the last one, before the start the first).
    Raises DataError for an image that is missing or no picture, VideoError for a video that is missing or unreadable.
    """
    moments: dict[str, list[float]] = {}
    for path in paths:
        if match := _MOMENT.search(str(path)):
            moments.setdefault(str(path)[: match.start()], []).append(float(match[1]))
    shown = {(video, time_s): frame for video, times_s in moments.items() for time_s, frame in _seek(video, times_s)}
    frames = []
    for path in paths:
        match = _MOMENT.search(str(path))
        frames.append(shown[str(path)[: match.start()], float(match[1])] if match else _load_image(Path(path)))
    return frames


def _load_image(path: Path) -> np.ndarray:
    from PIL import Image

    if not path.is_file():
        raise DataError(f"there is no image {path}; check the paths of the row, they are relative to its file")
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):  # which "RGB" would cut off at 255
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's many readers raise whatever they come upon
        raise DataError(f"{path} is not an image that can be read ({error})") from error


def _seek(video: str, times_s: list[float]) -> list[tuple[float, np.ndarray]]:
    """(time, frame) for each wanted time, in one pass over the video; all of the size of its first picture, as who
    watches the video sees them."""
    from oncue.video.decode import decode, frame_to_rgb

    waiting = sorted(set(times_s))
    found: list[tuple[float, np.ndarray]] = []
    newest, size = None, ()
    for pts_s, frame in decode(video):
        while waiting and newest is not None and pts_s > waiting[0] + 1e-6:
            found.append((waiting.pop(0), frame_to_rgb(newest, *size)))
        if not waiting:
            break
        newest, size = frame, size or frame_to_rgb(frame).shape[:2]
    if newest is not None:
        found += [(time_s, frame_to_rgb(newest, *size)) for time_s in waiting]
    return found
