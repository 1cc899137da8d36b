"""The frames of a row by name, from its video and back.

Frame k of the grid (k = 0, 1, ...) shows its video at (k + 1) intervals. Its name is a moment,
`clip.mp4#t=SECONDS` (seconds of the file, the last one not after the end of the part), or a picture
file, `FOLDER/<video_id>/000001.jpg` for frame 0. A row that was read from picture files names its
video as ffmpeg does: `FOLDER/%06d.jpg`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from oncue.clock import Clock
from oncue.data.formats.layout import Layout
from oncue.data.proactive_rows import ProactiveRow
from oncue.data.video_files import find_video
from oncue.errors import DataError
from oncue.types import TimeSpan

_TOLERANCE_S = 1e-3  # moments are written with decimals
_MOMENT = re.compile(r"(.+)#t=(\d+(?:\.\d+)?)")
_NUMBERED = re.compile(r"((?:.*[/\\])?)(\d+)(\.\w+)")
_PATTERN = re.compile(r"%0(\d+)d(\.\w+)")


@dataclass(frozen=True, slots=True)
class Track:
    """What frames are taken from: a video, or the pattern of its picture files; the part of it, and
    how long that is."""

    video: str
    part: TimeSpan | None
    duration_s: float


def duration_of(row: ProactiveRow, layout: Layout) -> float:
    """Seconds of the part of the video. Raises DataError or VideoError where neither the row nor
    the file says it."""
    if row.task.duration_s is not None:
        return row.task.duration_s
    if row.part is not None:
        return row.part.duration_s
    from oncue.video.probe import probe

    found = probe(find_video(row.video, layout.videos or Path())).duration_s
    if found is None:
        raise DataError(f"{row.video} does not say how long it is; give 'duration' in the row")
    return found


def num_frames_of(row: ProactiveRow, layout: Layout) -> int:
    """How many grid frames the part of the video has; the last interval may be cut short."""
    return max(1, layout.clock.first_at_or_after(duration_of(row, layout)))


def is_pattern(video: str) -> bool:
    """Whether `video` is the pattern of picture files."""
    return _PATTERN.fullmatch(video.rpartition("/")[2]) is not None


def moments_s(row: ProactiveRow, num_frames: int, clock: Clock) -> list[float]:
    """The seconds of the file that the first `num_frames` grid frames show."""
    start_s = row.part.start_s if row.part is not None else 0.0
    end_s = row.task.duration_s
    if end_s is None and row.part is not None:
        end_s = row.part.duration_s
    times = (clock.time_of(k + 1) for k in range(num_frames))
    return [start_s + (t if end_s is None else min(t, end_s)) for t in times]


def frame_names(row: ProactiveRow, num_frames: int, layout: Layout) -> list[str]:
    """The names of the first `num_frames` grid frames. Raises DataError for a video that is not in
    `layout.videos`, or an id that is no name of a folder."""
    if layout.frames is not None:
        folder = picture_folder(row, layout.frames)
        return [f"{folder}/{k + 1:06d}.jpg" for k in range(num_frames)]
    if is_pattern(row.video):
        folder, slash, name = row.video.rpartition("/")
        width, ending = _PATTERN.fullmatch(name).groups()  # type: ignore[union-attr]
        return [f"{folder}{slash}{k + 1:0{width}d}{ending}" for k in range(num_frames)]
    video = row.video if layout.videos is None else str(find_video(row.video, layout.videos))
    return [f"{video}#t={_seconds(t)}" for t in moments_s(row, num_frames, layout.clock)]


def picture_folder(row: ProactiveRow, frames: Path) -> str:
    """The folder of the picture files of a video. Raises DataError for a `video_id` that leads out
    of `frames`."""
    name = PurePosixPath(row.video_id)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise DataError(
            f"video_id {row.video_id!r} of row {row.row_id!r} is no name of a folder for its "
            "frames; rename it"
        )
    return f"{frames.as_posix()}/{row.video_id}"


def track_of(names: Sequence[str], clock: Clock, where: str, num_before: int = 0) -> Track:
    """What the frames `names` are taken from, of which the first is grid frame `num_before`.

    Raises DataError for frames that are neither moments of one video on the grid of `clock` nor
    picture files of one folder that are numbered as grid frames, from 1.
    """
    if not names:
        raise DataError(f"{where}: it shows no frame; expected a dialogue about a video")
    moments = [_MOMENT.fullmatch(name) for name in names]
    if all(moments):
        return _of_moments([m.groups() for m in moments if m], clock, where, num_before)
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    folder, digits, ending = numbered[0].groups() if numbered[0] else ("", "", "")
    expected = [
        f"{folder}{k:0{len(digits)}d}{ending}"
        for k in range(num_before + 1, num_before + 1 + len(names))
    ]
    for number, (name, fitting) in enumerate(zip(names, expected, strict=True), 1):
        if name != fitting:
            raise DataError(
                f"{where}, image {number}: {name!r:.100} is not the next frame; expected moments "
                "of one video (clip.mp4#t=2), or picture files of one folder, numbered from 1"
            )
    video = f"{folder}%0{len(digits)}d{ending}".replace("\\", "/")
    return Track(video, None, clock.time_of(num_before + len(names)))


def _of_moments(
    moments: Sequence[tuple[str, ...]], clock: Clock, where: str, num_before: int
) -> Track:
    video, first_s, last_s = moments[0][0], float(moments[0][1]), float(moments[-1][1])
    num_until = num_before + len(moments)
    start_s = round(max(0.0, first_s - clock.time_of(num_before + 1)), 6)
    for number, (name, text) in enumerate(moments, 1):
        expected_s = start_s + clock.time_of(num_before + number)
        early_s = clock.frame_interval_s if number == len(moments) else _TOLERANCE_S
        if name != video or not -early_s < float(text) - expected_s < _TOLERANCE_S:
            raise DataError(
                f"{where}, image {number}: {name}#t={text} is not the next frame; expected "
                f"{video}#t={_seconds(expected_s)} at {clock.frame_interval_s:g} s per frame, "
                "which --frame-interval-s changes"
            )
    duration_s = round(min(last_s - start_s, clock.time_of(num_until)), 6)
    part = TimeSpan(start_s, round(start_s + duration_s, 6)) if start_s else None
    return Track(video, part, duration_s)


def _seconds(time_s: float) -> str:
    return f"{time_s:.6f}".rstrip("0").rstrip(".")
