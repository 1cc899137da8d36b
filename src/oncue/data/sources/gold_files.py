"""Gold files of ProactiveVideoQA's form, whose due replies become the scenes of their videos.

A JSON list of {"video", "duration", "answer": [{"content", "related_timespan": [s, s],
"reply_timespan": [s, s]}]}; other keys are ignored. The scene of a reply is what it is about, its
`related_timespan`, or its `reply_timespan` where that is missing. The rows of a video, one for each
question, make one video with the scenes of all of them; a scene that is there twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from oncue.data.source_videos import Remark, SourceVideo
from oncue.data.sources.segments import in_order, scene_of, sound_scenes
from oncue.errors import DataError
from oncue.fields import Duration, NonEmptyText, VideoSpan, read_as
from oncue.json_files import json_file

EXPECTED = "a gold file, a list of rows with video, duration and answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    video: NonEmptyText
    duration: Duration
    answer: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    content: NonEmptyText
    reply_timespan: VideoSpan | None = None
    related_timespan: VideoSpan | None = None

    def __post_init__(self) -> None:
        if self.reply_timespan is None and self.related_timespan is None:
            raise ValueError("it has neither related_timespan nor reply_timespan; add one")


@dataclass(slots=True)
class _Gathered:
    where: str
    duration_s: float
    scenes: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GoldFiles:
    """The videos of these files."""

    paths: tuple[Path, ...]

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError for a file that holds no list of rows."""
        for path in self.paths:
            rows = json_file(path, EXPECTED)
            if not isinstance(rows, list) or not rows:
                raise DataError(f"{path} holds no row; expected {EXPECTED}")
            gathered: dict[str, _Gathered] = {}
            for number, row in enumerate(rows, 1):
                yield from _gather(row, f"{path}, row {number}", gathered)
            for video, found in gathered.items():
                yield SourceVideo(
                    Path(video).stem,
                    video,
                    path.stem,
                    found.where,
                    duration_s=found.duration_s,
                    scenes=in_order(found.scenes),
                )


def _gather(row: Any, where: str, gathered: dict[str, _Gathered]) -> Iterator[DataError]:
    """Adds the scenes of a row to those of its video; gives what is wrong with it."""
    try:
        sound = read_as(_Row, row, where)
    except DataError as error:
        yield error
        return
    video = gathered.setdefault(sound.video, _Gathered(where, sound.duration))

    def scene(number: int) -> Remark:
        place = f"{where}, answer {number + 1}"
        answer = read_as(_Answer, sound.answer[number], place)
        span = answer.related_timespan or answer.reply_timespan
        assert span is not None  # of `_Answer`
        return scene_of(span, answer.content, video.duration_s, place)

    scenes, faults = sound_scenes(partial(scene, number) for number in range(len(sound.answer)))
    yield from faults
    video.scenes += [each for each in scenes if each not in video.scenes]
