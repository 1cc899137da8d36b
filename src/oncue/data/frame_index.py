"""What a frame store says of itself: its settings, its clips, and the index of each shard.

    STORE/store.json                  frame interval, size rule and quality: of all frames
    STORE/clips.jsonl                 which used part of which video is in which shard
    STORE/shard-000000.tar            WebDataset layout: <key>.json, <key>.0001.jpg, <key>.0002.jpg
    STORE/shard-000000.index.jsonl    digest of the tar, then place and size of every frame

Frame n of a clip (from 1) is the picture on show n intervals after the start of the used part, as
`FileSource` gives it. Keys have small letters, digits and `-` alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from oncue.errors import DataError
from oncue.fields import Count, Duration, Index, NonEmptyText, VideoSpan, read_as
from oncue.json_files import json_object, json_object_in
from oncue.types import TimeSpan

VERSION = 1
_KEY_LENGTH = 48  # of the readable part of a key; a name in a tar may have 100 bytes
LINE_START = b'{"key": "'  # of a clip in an index


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """What all frames of a store have in common.

    A frame has at most `max_pixels`, in whole cells of `cell_px`, or no side longer than
    `max_side_px`; with neither, all are as large as in the video. `quality`: of the JPEGs, 1 to 95.
    """

    frame_interval_s: Duration
    max_pixels: Count | None = None
    cell_px: Count = 28
    max_side_px: Count | None = None
    quality: Annotated[int, Field(ge=1, le=95)] = 90
    version: int = VERSION

    @classmethod
    def read(cls, folder: Path) -> StoreSettings:
        """Those of the store in `folder`. Raises DataError where there is none."""
        path = folder / "store.json"
        if not path.is_file():
            raise DataError(
                f"there is no frame store in {folder} (no store.json); make one with oncue data "
                "frames build"
            )
        settings = read_as(cls, json_object_in(path, "the settings of a frame store"), str(path))
        if settings.version != VERSION:
            raise DataError(
                f"{path} is of version {settings.version}, this oncue reads version {VERSION}; "
                "build the store again"
            )
        return settings


@dataclass(frozen=True, slots=True)
class Clip:
    """The used part of a video; None: all of it. `video`: its path as rows write it."""

    video: str
    part: TimeSpan | None = None

    @property
    def key(self) -> str:
        """Its name in a store: readable, and unique by a digest."""
        path = self.video.replace("\\", "/").removeprefix("./")
        span = "" if self.part is None else f"{self.part.start_s:.6f}-{self.part.end_s:.6f}"
        digest = hashlib.sha256(f"{path}\n{span}".encode()).hexdigest()[:12]
        readable = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:_KEY_LENGTH]
        return f"{readable}-{digest}" if readable else digest

    def __str__(self) -> str:
        part = self.part
        return self.video if part is None else f"{self.video} ({part.start_s:g}-{part.end_s:g} s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClip:
    """A clip of a shard: the first byte and the number of bytes of each of its frames."""

    key: NonEmptyText
    video: NonEmptyText
    part: VideoSpan | None
    width_px: Count
    height_px: Count
    offsets: tuple[Index, ...]
    sizes: tuple[Count, ...]

    def __post_init__(self) -> None:
        if not self.offsets or len(self.offsets) != len(self.sizes):
            raise ValueError(
                f"a clip needs as many offsets as sizes, got {len(self.offsets)} and "
                f"{len(self.sizes)}"
            )

    def line(self) -> str:
        """Its line of the index."""
        part = None if self.part is None else [self.part.start_s, self.part.end_s]
        plain = {name: getattr(self, name) for name in StoredClip.__slots__}
        return json.dumps({**plain, "part": part}, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """The first line of the index of a shard."""

    shard: NonEmptyText
    num_bytes: Index
    sha256: NonEmptyText
    num_clips: Index
    num_frames: Index


def shard_paths(folder: Path, number: int) -> tuple[Path, Path]:
    """The tar of a shard, and its index."""
    return folder / f"shard-{number:06d}.tar", folder / f"shard-{number:06d}.index.jsonl"


def read_shard(index: Path) -> tuple[ShardFacts, Iterator[StoredClip | FailedClip]]:
    """What an index says of its shard, and of each clip. Raises DataError for a broken index."""
    try:
        lines = index.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"cannot read {index} ({error.strerror}); {rebuild(index)}") from error
    if not lines:
        raise DataError(f"{index} is empty; {rebuild(index)}")
    facts = read_as(ShardFacts, _object(lines[0], index, 1), f"{index}, line 1")
    return facts, (read_clip(line, index, number) for number, line in enumerate(lines[1:], 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedClip:
    """A clip of which there are no frames, and why."""

    failed: NonEmptyText
    video: NonEmptyText
    why: NonEmptyText

    def line(self) -> str:
        """Its line of the index."""
        plain = {name: getattr(self, name) for name in FailedClip.__slots__}
        return json.dumps(plain, ensure_ascii=False) + "\n"


def read_clip(line: bytes, index: Path, number: int) -> StoredClip | FailedClip:
    """What a line of an index holds. Raises DataError for a broken one."""
    value = _object(line, index, number)
    where = f"{index}, line {number}"
    return (
        read_as(FailedClip, value, where)
        if "failed" in value
        else (read_as(StoredClip, value, where))
    )


def _object(line: bytes, index: Path, number: int) -> dict[str, object]:
    return dict(json_object(line, f"{index}, line {number}", "a line of the index of a shard"))


def rebuild(index: Path) -> str:
    """What to do about a broken shard."""
    return (
        f"delete {index.name.partition('.')[0]}.tar and its index, and run oncue data frames build "
        "again"
    )


def shard_numbers(folder: Path) -> Sequence[int]:
    """The numbers of the shards that are complete, in order."""
    names = (path.name for path in folder.glob("shard-*.index.jsonl"))
    return sorted(int(name[6:-12]) for name in names if name[6:-12].isdecimal())
