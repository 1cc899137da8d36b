"""How dialogues become written rows: clock, turns, names of frames, segments."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.source_videos import VideoKind
from oncue.dialogue.write import Placement
from oncue.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Layout:
    """What a format with turns needs to know beside the rows.

    `frames`: the folder of picture files `<video_id>/000001.jpg`; None: frames are moments of the
    video, `clip.mp4#t=SECONDS`. `write_frames`: whether these files are written, too. `videos`: the
    folder of the videos; None: they are named as the rows do. `segment_s`: length of the segments
    of reinforcement learning. `max_frames`: of an example in all, history and segment. `kind`: of
    videos that a format says nothing of.
    """

    clock: Clock
    frames_per_turn: int
    segment_s: float
    max_frames: int
    placement: Placement = Placement.END
    frames: Path | None = None
    write_frames: bool = False
    videos: Path | None = None
    kind: VideoKind = VideoKind.OTHER

    def __post_init__(self) -> None:
        if self.frames_per_turn < 1 or self.max_frames < 1:
            raise ConfigError(
                "turns and examples need at least one frame, got frames_per_turn = "
                f"{self.frames_per_turn} and max_frames = {self.max_frames}"
            )
        if self.write_frames and self.frames is None:
            raise ConfigError("--write-frames needs a folder for the pictures; give it as --frames")

    @property
    def turn_s(self) -> float:
        """Seconds of a turn."""
        return self.clock.time_of(self.frames_per_turn)

    def rng(self, row_id: str) -> np.random.Generator:
        """Where replies are placed by chance: the same for the same row, whatever is around it."""
        return np.random.default_rng(zlib.crc32(row_id.encode("utf-8")))
