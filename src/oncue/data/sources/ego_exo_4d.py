"""Ego-Exo4D: what people do, seen from their glasses. Atomic descriptions and keysteps.

`takes.json`, which is needed, a list: {"take_uid", "take_name", "root_dir", "duration_sec",
"frame_aligned_videos": {CAMERA: {STREAM: {"relative_path"}}}}. With it any of

    atomic_descriptions_*.json  {"annotations": {TAKE_UID: [{"annotator_id", "rejected",
                                 "descriptions": [{"text", "timestamp", "ego_visible"}]}]}}
    keystep_*.json              {"annotations": {TAKE_UID: {"segments": [{"start_time", "end_time",
                                 "step_name", "step_description"}]}}}

Other keys are ignored. The video of a take is that of the colour camera of its glasses. Each
annotator makes a video of their own, since all describe the whole take.

A description has one moment, which is true within 1 to 2 s. Its scene begins `BEFORE_S` earlier and
lasts until the next one does, at least `SHORTEST_SCENE_S` and at most `LONGEST_SCENE_S`. The letter
C, by which annotators call who wears the camera, becomes words. Rejected
annotations are left out, and so are descriptions that only the other cameras see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from oncue.data.source_videos import Remark, SourceVideo, VideoKind
from oncue.data.sources.segments import (
    LONGEST_SCENE_S,
    SHORTEST_SCENE_S,
    scene_of,
    sound_scenes,
)
from oncue.errors import DataError
from oncue.fields import Duration, IdText, NonEmptyText, Seconds, read_as
from oncue.json_files import json_file
from oncue.types import TimeSpan

EXPECTED = (
    "takes.json of Ego-Exo4D, with files of its atomic descriptions or keysteps (an object with "
    "annotations)"
)
BEFORE_S = 1.0
_NO = (False, "0", "false", "False")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    relative_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Take:
    take_uid: NonEmptyText
    take_name: NonEmptyText
    root_dir: NonEmptyText | None = None
    duration_sec: Duration | None = None
    frame_aligned_videos: dict[str, dict[str, _Stream]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    text: NonEmptyText
    timestamp: Seconds
    ego_visible: Any = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Annotation:
    descriptions: tuple[Any, ...]
    rejected: Any = False
    annotator_id: IdText = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keysteps:
    segments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keystep:
    start_time: Seconds
    end_time: Seconds
    step_name: str = ""
    step_description: str | None = None

    def __post_init__(self) -> None:
        if self.end_time < self.start_time:
            raise ValueError(f"it ends at {self.end_time:g} s, before {self.start_time:g} s")


@dataclass(frozen=True, slots=True)
class EgoExo4D:
    """The takes of these files. `folder`: where the videos are, to use the downscaled ones where
    only those are there."""

    paths: tuple[Path, ...]
    folder: Path | None = None

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError for a file that cannot be read, or holds neither, and where there is no
        takes.json."""
        takes: dict[str, tuple[str, Any]] = {}
        annotated: list[tuple[Path, Mapping[str, Any]]] = []
        for path in self.paths:
            value = json_file(path, EXPECTED)
            if isinstance(value, list):
                for number, take in enumerate(value, 1):
                    uid = take.get("take_uid") if isinstance(take, Mapping) else None
                    takes.setdefault(str(uid), (f"{path}, row {number}", take))
            elif isinstance(value, Mapping) and isinstance(value.get("annotations"), Mapping):
                annotated.append((path, value["annotations"]))
            else:
                raise DataError(f"{path} holds neither takes nor annotations; expected {EXPECTED}")
        if not takes or not annotated:
            missing = "annotations" if takes else "takes.json"
            raise DataError(f"the files given have no {missing}; expected {EXPECTED}")
        for path, entries in annotated:
            for uid, entry in entries.items():
                yield from self._videos_of(entry, takes.get(uid), f"{path}, take {uid}")

    def _videos_of(
        self, entry: Any, written: tuple[str, Any] | None, where: str
    ) -> Iterator[SourceVideo | DataError]:
        try:
            if written is None:
                raise DataError(
                    f"{where}: takes.json has no such take; give the one of this release"
                )
            take = read_as(_Take, written[1], written[0])
            video = self._video_path(take, written[0])
            if isinstance(entry, list):
                read = [
                    read_as(_Annotation, each, f"{where}, annotation {number}")
                    for number, each in enumerate(entry, 1)
                ]
                kinds = [
                    (f"actions-{number}", _actions(each, take, f"{where}, annotation {number}"))
                    for number, each in enumerate(read, 1)
                    if each.rejected in _NO
                ]
            else:
                keysteps = read_as(_Keysteps, entry, where)
                kinds = [("keysteps", _steps(keysteps, take, where))]
        except DataError as error:
            yield error
            return
        for name, makers in kinds:
            scenes, faults = sound_scenes(makers)
            yield from faults
            if not scenes:
                yield DataError(f"{where}: no scene of its {name} can be used; leave it out")
                continue
            yield SourceVideo(
                f"{take.take_name}-{name}",
                video,
                "Ego-Exo4D",
                where,
                VideoKind.EGO,
                duration_s=take.duration_sec,
                scenes=scenes,
            )

    def _video_path(self, take: _Take, where: str) -> str:
        """The path of the video of the colour camera of the glasses."""
        cameras = take.frame_aligned_videos or {}
        relative = next(
            (
                streams["rgb"].relative_path
                for camera, streams in cameras.items()
                if camera.startswith("aria") and "rgb" in streams
            ),
            None,
        )
        if not relative:
            raise DataError(f"{where}: the take has no video of a camera 'aria...' with 'rgb'")
        full = Path(take.root_dir or f"takes/{take.take_name}", relative)
        small = full.parent / "downscaled" / "448" / full.name
        is_small = (
            self.folder is not None
            and not (self.folder / full).exists()
            and (self.folder / small).exists()
        )
        return (small if is_small else full).as_posix()


def _actions(annotation: _Annotation, take: _Take, where: str) -> list[Callable[[], Remark]]:
    """What makes the scenes of the descriptions that the glasses see, or says what is wrong."""
    sound: list[tuple[_Description, str]] = []
    makers: list[Callable[[], Remark]] = []
    for number, written in enumerate(annotation.descriptions, 1):
        place = f"{where}, description {number}"
        try:
            description = read_as(_Description, written, place)
        except DataError as error:
            makers.append(partial(_raise, error))
            continue
        if description.ego_visible not in _NO:
            sound.append((description, place))
    sound.sort(key=lambda each: each[0].timestamp)
    begins_s = [max(0.0, each.timestamp - BEFORE_S) for each, _ in sound]
    for number, (description, place) in enumerate(sound):
        begin_s = begins_s[number]
        until_s = begins_s[number + 1] if number + 1 < len(begins_s) else begin_s + SHORTEST_SCENE_S
        end_s = min(max(until_s, begin_s + SHORTEST_SCENE_S), begin_s + LONGEST_SCENE_S)
        text = _with_wearer(description.text)
        makers.append(partial(scene_of, TimeSpan(begin_s, end_s), text, take.duration_sec, place))
    return makers


def _steps(keysteps: _Keysteps, take: _Take, where: str) -> list[Callable[[], Remark]]:
    def scene(number: int) -> Remark:
        place = f"{where}, segment {number + 1}"
        step = read_as(_Keystep, keysteps.segments[number], place)
        text = (step.step_description or "").strip() or step.step_name
        return scene_of(TimeSpan(step.start_time, step.end_time), text, take.duration_sec, place)

    return [partial(scene, number) for number in range(len(keysteps.segments))]


def _with_wearer(text: str) -> str:
    """`text` with the camera wearer, whom the annotators call C, in words."""
    worded = re.sub(r"(?<![\w-])C(?='s\b|[\s.,;]|$)", "the camera wearer", text.strip())
    return worded[:1].upper() + worded[1:]


def _raise(error: DataError) -> Remark:
    raise error
