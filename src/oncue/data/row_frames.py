"""The frames of a clip on the grid of a clock: from its video, or from a frame store."""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.frame_index import Clip
from oncue.data.frame_store import open_store
from oncue.data.video_files import find_video
from oncue.video.excerpt import open_excerpt
from oncue.video.pool_reader import Shrink
from oncue.video.probe import VideoInfo, probe
from oncue.video.source import frames_of


def grid_frames(
    clip: Clip,
    clock: Clock,
    *,
    videos: Path,
    store: Path | None = None,
    first: int = 0,
    end: int | None = None,
    shrink: Shrink | None = None,
) -> list[np.ndarray]:
    """Grid frames number `first` to `end` - 1 of the used part, (H, W, 3) uint8 RGB each, fewer
    where it ends before.

    With `store` they come from there, else from the file in the folder `videos`. `shrink` is
    applied to each as it is read. Raises DataError and VideoError for what cannot be shown, and
    ConfigError for a store whose frames are too far apart.
    """
    make_small = shrink or (lambda pixels: pixels)
    if store is not None:
        frames = open_store(store).frames(clip, clock, first, end)
        return [make_small(pixels) for pixels in frames]
    start_s, end_s = (clip.part.start_s, clip.part.end_s) if clip.part else (0.0, None)
    from_s = start_s + clock.time_of(first)
    if end_s is not None and from_s >= end_s:
        return []
    source = open_excerpt(find_video(clip.video, videos), clock.frame_interval_s, from_s, end_s)
    with contextlib.closing(source):
        shown = islice(frames_of(source), None if end is None else end - first)
        return [make_small(batch.pixels[0]) for batch in shown]


def check_clip(
    clip: Clip, clock: Clock, *, videos: Path, store: Path | None = None
) -> VideoInfo | None:
    """Raises DataError or VideoError for a clip without frames: one that the store lacks, or whose
    video is not there or has no picture; ConfigError as `grid_frames`. The facts of the video, None
    of a store."""
    if store is None:
        return probe(find_video(clip.video, videos))
    open_store(store).num_frames(clip, clock)
    return None
