"""Folders of made-up clips, as `oncue world make` writes them: videos whose scenes are known
exactly.

FOLDER/scenes.jsonl  JSON lines {"video": NAME, "duration": s, "scenes": [{"span": [s, s],
                     "caption": text}]}; other keys are ignored
FOLDER/videos/NAME   the clips

With them the whole pipeline can be tried without any data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from oncue.data.source_videos import Remark, SourceVideo
from oncue.data.sources.segments import scene_of, sound_scenes
from oncue.errors import DataError
from oncue.fields import Duration, NonEmptyText, VideoSpan, read_as
from oncue.json_files import filled_lines, json_object

EXPECTED = "a clip of a world, an object with video, duration and scenes"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clip:
    video: NonEmptyText
    duration: Duration
    scenes: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    span: VideoSpan
    caption: NonEmptyText


@dataclass(frozen=True, slots=True)
class MadeWorlds:
    """The clips of these folders."""

    paths: tuple[Path, ...]

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError for a folder that is no world."""
        for folder in self.paths:
            path = folder / "scenes.jsonl"
            if not path.is_file():
                raise DataError(f"there is no {path}; make a world with 'oncue world make'")
            for where, line in filled_lines(path, EXPECTED):
                try:
                    clip = read_as(_Clip, json_object(line, where, EXPECTED), where)
                except DataError as error:
                    yield error
                    continue
                scenes, faults = sound_scenes(
                    partial(_scene, clip, number, where) for number in range(len(clip.scenes))
                )
                yield from faults
                yield SourceVideo(
                    Path(clip.video).stem,
                    str((folder / "videos" / clip.video).absolute()),
                    "oncue worlds",
                    where,
                    duration_s=clip.duration,
                    scenes=scenes,
                )


def _scene(clip: _Clip, number: int, where: str) -> Remark:
    place = f"{where}, scene {number + 1}"
    scene = read_as(_Scene, clip.scenes[number], place)
    return scene_of(scene.span, scene.caption, clip.duration, place)
