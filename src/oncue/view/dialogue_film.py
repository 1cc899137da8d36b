"""Stills of the video of a proactive row: one at the start of each of its scenes."""

from __future__ import annotations

import warnings
from contextlib import closing
from pathlib import Path

from oncue.clock import Clock
from oncue.data.proactive_rows import ProactiveRow
from oncue.data.video_files import find_video
from oncue.errors import CorruptStretchWarning, InputError
from oncue.video.excerpt import open_excerpt
from oncue.video.source import frames_of
from oncue.view.film import Film
from oncue.watch.record import Still, encode_jpeg

MAX_STILLS = 16
_CLOCK = Clock(1.0)  # a still shows what is visible within a second after the start of its scene
_WIDTH_PX, _QUALITY = 200, 68


def row_film(row: ProactiveRow, videos: Path | None) -> Film:
    """At most `MAX_STILLS` stills of the used part, or none and why. `videos`: the folder that the
    video is looked for in."""
    if videos is None:
        return Film(missing="No film: no folder of videos was given (--videos).")
    part = row.part
    start_s, end_s = (part.start_s, part.end_s) if part is not None else (0.0, None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptStretchWarning)  # `data check` says it
            path = find_video(row.video, videos)
            with closing(open_excerpt(path, 1.0, start_s, end_s)) as source:
                wanted = still_frames(row, source.duration_s)
                stills = []
                for number, batch in enumerate(frames_of(source), 1):
                    if number in wanted:
                        jpeg = encode_jpeg(batch.pixels[-1], _WIDTH_PX, _QUALITY)
                        stills.append(Still(_CLOCK.time_of(number), jpeg))
                    if number >= max(wanted):
                        break
    except InputError as error:
        return Film(missing=f"No film: {error}.")
    return Film(tuple(stills))


def still_frames(row: ProactiveRow, length_s: float | None) -> frozenset[int]:
    """Which frames of one a second are kept, from 1: the first of each scene, spread evenly where
    there are too many; without scenes spread over the video."""
    starts_s = sorted({scene.span.start_s for scene in row.scenes})
    if not starts_s:
        length_s = row.task.duration_s or length_s or 1.0
        starts_s = [length_s * (k + 0.5) / MAX_STILLS for k in range(MAX_STILLS)]
    numbers = sorted({max(1, _CLOCK.first_at_or_after(time_s)) for time_s in starts_s})
    if len(numbers) <= MAX_STILLS:
        return frozenset(numbers)
    return frozenset(numbers[k * len(numbers) // MAX_STILLS] for k in range(MAX_STILLS))
