"""The pictures a dialogue names: image files, or moments of videos written as media fragments
(`clip.mp4#t=12.5`)."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from oncue.dialogue.pictures import load_picture

_MOMENT = re.compile(r"#t=(\d+(?:\.\d+)?)$")


def local_path(text: str) -> Path:
    """The path that a row names: as it is, behind `file://` (with or without `localhost`, %20 for a
    blank), or below the home folder (`~/`). A moment keeps its mark."""
    if text.startswith("file:"):
        text = unquote(re.sub(r"^file:(//localhost(?=/)|//)?", "", text))
    return Path(text).expanduser() if text.startswith("~/") else Path(text)


def is_elsewhere(text: str) -> bool:
    """Whether `text` names what no file holds: the address of a server, or a picture written out as
    a data: URL."""
    return bool(re.match(r"data:|(?!file:)[a-z][a-z0-9+.-]+://", text, re.IGNORECASE))


def locate(path: Path, folder: Path) -> Path:
    """`path` beside a file in `folder`, where it exists there; else as it is. Backslashes of a path
    written on Windows separate folders where only that exists. A moment keeps its mark."""
    slashed = Path(str(path).replace("\\", "/"))
    found = (each for each in (folder / path, path, folder / slashed, slashed) if _is_there(each))
    return next(found, path)


def video_of(path: Path) -> str | None:
    """The video of which `path` names a moment; None for a picture."""
    match = _MOMENT.search(str(path))
    return str(path)[: match.start()] if match else None


def _is_there(path: Path) -> bool:
    return os.path.isfile(_MOMENT.sub("", str(path)))  # False for a name that is too long, too


def load_frames(paths: Sequence[Path | str]) -> list[np.ndarray]:
    """(H, W, 3) uint8 RGB for each path, in order; each video is decoded once, each picture read by
    `load_picture`.

    A moment shows the newest frame at or before it (a moment after the end the last one, before the
    start the first). Raises DataError for an image that is missing or no picture, VideoError for a
    video that is missing or unreadable.
    """
    moments: dict[str, list[float]] = {}
    for path in paths:
        if match := _MOMENT.search(str(path)):
            moments.setdefault(str(path)[: match.start()], []).append(float(match[1]))
    shown = {
        (video, time_s): frame
        for video, times_s in moments.items()
        for time_s, frame in frames_at(video, times_s)
    }
    frames = []
    for path in paths:
        match = _MOMENT.search(str(path))
        frames.append(
            shown[str(path)[: match.start()], float(match[1])]
            if match
            else load_picture(Path(path))
        )
    return frames


def frames_at(
    video: str, times_s: Sequence[float]
) -> Generator[tuple[float, np.ndarray], None, None]:
    """(time, frame) for each wanted time, in order of time and each once, in one pass over the
    video: the newest frame at or before it, as of `load_frames`; all (H, W, 3) uint8 of the size of
    its first picture, as who watches the video sees them. Raises VideoError for a video that is
    missing or unreadable."""
    from oncue.video.decode import decode, frame_to_rgb

    waiting = deque(sorted(set(times_s)))
    newest, size = None, ()
    for pts_s, frame in decode(video):
        while waiting and newest is not None and pts_s > waiting[0] + 1e-6:
            yield waiting.popleft(), frame_to_rgb(newest, *size)
        if not waiting:
            return
        newest, size = frame, size or frame_to_rgb(frame).shape[:2]
    if newest is not None:
        for time_s in waiting:
            yield time_s, frame_to_rgb(newest, *size)
