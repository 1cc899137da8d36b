"""What the pipeline begins with: a video, and what a data set says of it.

Times are seconds from the start of the part of the file that is used (`part`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from oncue.errors import DataError
from oncue.types import TimeSpan


class VideoKind(enum.StrEnum):
    """The two kinds of MMDuet2's data set (section 3, Table 1), and all others."""

    WEB = "web"
    EGO = "ego"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Remark:
    """A stretch of a video, and what is said in it or written of it."""

    span: TimeSpan
    text: str


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One video to make dialogues of.

    `video_id`: unique in its data set, of one part where a file has several. `video`: its path as
    the data set writes it (`oncue.data.video_files.find_video` finds it). `source`: the name of the
    data set. `where`: the file and row it was read from, for messages. `part`: the part of the file
    that is used, in seconds of the file; None: all of it. `duration_s`: of the part, None where the
    data set does not say. `scenes`: annotated segments with their descriptions, in order; they may
    overlap and leave gaps. `sentences`: of the subtitles, in order. Both may be empty: then the
    pipeline looks for scenes in the pictures.
    """

    video_id: str
    video: str
    source: str
    where: str
    kind: VideoKind = VideoKind.OTHER
    part: TimeSpan | None = None
    duration_s: float | None = None
    scenes: tuple[Remark, ...] = ()
    sentences: tuple[Remark, ...] = ()


class VideoSource(Protocol):
    """A data set of videos. What is wrong with a row of it is a DataError in its place, which names
    file and row, so that a long run can list and skip it."""

    def videos(self) -> Iterator[SourceVideo | DataError]: ...
