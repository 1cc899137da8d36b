"""Long videos cut into parts, and ids that name each part once.

Parts begin every `longest_s` seconds. A scene or sentence that crosses their border belongs, cut at
the border, to each part that holds at least half of it, or that it fills to a half.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from oncue.data.source_videos import Remark, SourceVideo, VideoKind, VideoSource
from oncue.errors import ConfigError, DataError
from oncue.files import printable
from oncue.types import TimeSpan

LONGEST_PART_S = 180.0  # as the clips and ego windows of MMDuet2's data
SHORTEST_PART_S = 20.0  # of what is left at the end of a long video
_HALF = 0.5 - 1e-9


@dataclass(frozen=True, slots=True)
class PartsSource:
    """The videos of `source`, those longer than `longest_s` cut into parts; None: as they are.

    The last part of a long video is left out where it is shorter than `shortest_s`, and any part
    in which nothing is said of a video of which something is. `kind` and
    `name` take the place of those of the source. The id of a part is that of its video with its
    seconds, as in "v1-0s_180s". An id that comes again gets "-2", "-3", ... at its end.
    """

    source: VideoSource
    longest_s: float | None = LONGEST_PART_S
    shortest_s: float = SHORTEST_PART_S
    kind: VideoKind | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.longest_s is not None and not (
            math.isfinite(self.longest_s) and 0 <= self.shortest_s <= self.longest_s > 0
        ):
            raise ConfigError(
                "a part must last more than 0 s and no less than the shortest one, got "
                f"longest_part_s {self.longest_s} and shortest_part_s {self.shortest_s}"
            )

    def videos(self) -> Iterator[SourceVideo | DataError]:
        taken: set[str] = set()
        for video in self.source.videos():
            if isinstance(video, DataError):
                said = printable(str(video))
                yield video if said == str(video) else DataError(said)
                continue
            if printable(video.video) != video.video:
                name = printable(video.video)
                yield DataError(f"the name of the video {name} is not UTF-8 text; rename it")
                continue
            for part in self._parts(video):
                video_id = _unused(part.video_id, taken)
                taken.add(video_id)
                yield replace(
                    part,
                    video_id=video_id,
                    kind=self.kind or part.kind,
                    source=self.name or part.source,
                )

    def _parts(self, video: SourceVideo) -> Iterator[SourceVideo]:
        remarks = (*video.scenes, *video.sentences)
        length_s = video.duration_s or max((each.span.end_s for each in remarks), default=0.0)
        if self.longest_s is None or length_s <= self.longest_s:
            yield video
            return
        for number in range(math.ceil(length_s / self.longest_s - 1e-9)):
            start_s = number * self.longest_s
            window = TimeSpan(start_s, min(start_s + self.longest_s, length_s))
            part = part_of(video, window)
            is_bare = bool(remarks) and not (part.scenes or part.sentences)
            if window.duration_s >= self.shortest_s and not is_bare:
                yield part


def part_of(video: SourceVideo, window: TimeSpan) -> SourceVideo:
    """The stretch `window` of a video, in seconds of its own part."""
    begin_s = video.part.start_s if video.part is not None else 0.0
    in_file = TimeSpan(begin_s + window.start_s, begin_s + window.end_s)
    return replace(
        video,
        video_id=f"{video.video_id}-{span_name(window)}",
        part=in_file,
        duration_s=window.duration_s,
        scenes=remarks_in(video.scenes, window),
        sentences=remarks_in(video.sentences, window),
    )


def remarks_in(remarks: tuple[Remark, ...], window: TimeSpan) -> tuple[Remark, ...]:
    """What belongs to `window`, as the note above says, in seconds from its start."""
    inside = []
    for remark in remarks:
        start_s = max(remark.span.start_s, window.start_s)
        end_s = min(remark.span.end_s, window.end_s)
        enough_s = _HALF * min(remark.span.duration_s, window.duration_s)
        if end_s > start_s and end_s - start_s >= enough_s:
            span = TimeSpan(round(start_s - window.start_s, 9), round(end_s - window.start_s, 9))
            inside.append(Remark(span, remark.text))
    return tuple(inside)


def span_name(span: TimeSpan) -> str:
    """The seconds of a span as ids have them: "0s_180s", "12.5s_44s"."""
    return f"{round(span.start_s, 3):.10g}s_{round(span.end_s, 3):.10g}s"


def _unused(video_id: str, taken: set[str]) -> str:
    number, unused = 1, video_id
    while unused in taken:
        number += 1
        unused = f"{video_id}-{number}"
    return unused
