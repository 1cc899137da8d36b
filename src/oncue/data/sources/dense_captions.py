"""Dense captions: sentences about stretches of videos, as of YouCook2 and ActivityNet Captions.

One JSON object per file, in one of two shapes:

    {VIDEO: {"duration": s, "timestamps": [[s, s], ...], "sentences": [text, ...]}}
    {"database": {VIDEO: {"duration": s, "annotations": [{"segment": [s, s], "sentence": text}],
                          "subset": "training" | "validation" | "testing"}}}

The first is that of ActivityNet Captions (`train.json`, `val_1.json`, `val_2.json`) and of YouCook2
for captioning, whose names of videos begin with "v_"; the second that of YouCook2's own file
(`youcookii_annotations_trainval.json`). Other keys are ignored. A video is `VIDEO.mp4`, or the file
of that name, with or without "v_", in the folder of the videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from oncue.data.source_videos import Remark, SourceVideo, VideoKind
from oncue.data.sources.segments import scene_of, sound_scenes
from oncue.data.sources.video_names import videos_by_name
from oncue.errors import DataError
from oncue.fields import Duration, NonEmptyText, VideoSpan, read_as
from oncue.json_files import json_object_in

EXPECTED = (
    "dense captions, an object from the name of a video to its duration, timestamps and sentences, "
    "or to its duration and annotations under 'database'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lists:
    duration: Duration
    timestamps: tuple[Any, ...]
    sentences: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.timestamps) != len(self.sentences):
            raise ValueError(
                f"it has {len(self.timestamps)} timestamps but {len(self.sentences)} sentences; "
                "give one sentence for each"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nested:
    duration: Duration
    annotations: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    segment: VideoSpan
    sentence: NonEmptyText


@dataclass(frozen=True, slots=True)
class DenseCaptions:
    """The videos of these files, with a scene for each sentence. `folder`: where the videos are, to
    find how they end; `name`: of the data set."""

    paths: tuple[Path, ...]
    folder: Path | None = None
    name: str = "dense captions"

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError for a file that holds no dense captions at all."""
        places = videos_by_name(self.folder)
        for path in self.paths:
            value = json_object_in(path, EXPECTED)
            entries = value.get("database", value)
            if not isinstance(entries, Mapping) or not entries:
                raise DataError(f"{path} holds no video; expected {EXPECTED}")
            for video, entry in entries.items():
                yield from self._videos_of(video, entry, f"{path}, video {video}", places)

    def _videos_of(
        self, video: str, entry: Any, where: str, places: Mapping[str, str]
    ) -> Iterator[SourceVideo | DataError]:
        try:
            duration_s, scenes, faults = _scenes(entry, where)
        except DataError as error:
            yield error
            return
        yield from faults
        if not scenes:
            yield DataError(f"{where}: no segment of it can be used; leave the video out")
            return
        bare = video.removeprefix("v_")
        yield SourceVideo(
            video,
            places.get(video) or places.get(bare) or f"{bare}.mp4",
            self.name,
            where,
            VideoKind.OTHER,
            duration_s=duration_s,
            scenes=scenes,
        )


def _scenes(entry: Any, where: str) -> tuple[float, tuple[Remark, ...], list[DataError]]:
    """Length, sound scenes, and what is wrong with the others."""
    if isinstance(entry, Mapping) and "annotations" in entry:
        nested = read_as(_Nested, entry, where)
        duration_s, segments = nested.duration, list(nested.annotations)
    else:
        lists = read_as(_Lists, entry, where)
        duration_s = lists.duration
        segments = [
            {"segment": span, "sentence": sentence}
            for span, sentence in zip(lists.timestamps, lists.sentences, strict=True)
        ]

    def scene(number: int) -> Remark:
        place = f"{where}, segment {number + 1}"
        row = read_as(_Segment, segments[number], place)
        return scene_of(row.segment, row.sentence, duration_s, place)

    return duration_s, *sound_scenes(partial(scene, number) for number in range(len(segments)))
