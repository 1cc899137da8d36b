"""Rows held out by video, so that all rows of one video are on one side.

A video is the file that rows name, without its ending; of picture files their folder. The window of
an ego-centric folder (`NAME-0s_180s`) is left out of the name, so windows of one video are
together. The side follows from the SHA-256 of the name alone:

- a part of the videos (`Part`): those below a threshold. A video never changes sides.
- numbers of videos (`Numbers`, per kind): those with the lowest hashes. Adding n videos makes at
  most n others change sides.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from oncue.data.formats import parquet_rows
from oncue.data.formats.parquet_files import read_parquet
from oncue.data.source_videos import VideoKind
from oncue.errors import ConfigError, DataError
from oncue.fields import NonEmptyText, read_as
from oncue.files import replacing
from oncue.json_files import filled_lines, json_object

EXPECTED = "our rows, official SFT rows, or examples of oncue train grpo"
TRAIN, HELD_OUT, ABOUT = "train", "held_out", "split.json"
_WINDOW = re.compile(r"-\d+s_\d+s$")
_PICTURE = re.compile(r"(?:^|/)(?:\d+|%0\d+d)\.(?:jpe?g|png|webp|bmp)$", re.IGNORECASE)
_HASHES = 2**64


@dataclass(frozen=True, slots=True)
class Part:
    """Hold out this part of the videos, from 0 to 1."""

    frac: float

    def __post_init__(self) -> None:
        if not 0 < self.frac < 1:
            raise ConfigError(f"--frac must lie between 0 and 1, got {self.frac:g}")

    def held_out(self, videos: Mapping[str, VideoKind]) -> set[str]:
        """Those of the videos that are held out."""
        return {name for name in videos if video_hash(name) < self.frac * _HASHES}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Hold out so many videos of each kind."""

    of_kind: Mapping[VideoKind, int]

    def held_out(self, videos: Mapping[str, VideoKind]) -> set[str]:
        """Those of the videos that are held out. Raises DataError where there are not enough."""
        held: set[str] = set()
        for kind, number in self.of_kind.items():
            names = sorted((n for n, k in videos.items() if k is kind), key=video_hash)
            if len(names) < number:
                raise DataError(
                    f"{number:,} videos of kind {kind} cannot be held out: there are "
                    f"{len(names):,}; lower the number"
                )
            held.update(names[:number])
        return held


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Rows and videos of each side, and the files."""

    num_rows: Mapping[str, int]
    num_videos: Mapping[str, int]
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    video: NonEmptyText
    kind: VideoKind = VideoKind.OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    path: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    images: tuple[Any, ...] = field(default=())


def read_numbers(words: tuple[str, ...]) -> Numbers:
    """The numbers of `web=1500 ego=400`. Raises ConfigError for other words."""
    found: dict[VideoKind, int] = {}
    for word in words:
        kind, _, number = word.partition("=")
        if kind not in list(VideoKind) or not number.isdecimal() or int(number) < 1:
            raise ConfigError(
                f"--hold-out must be {' or '.join(f'{k}=NUMBER' for k in VideoKind)}, got {word!r}"
            )
        found[VideoKind(kind)] = int(number)
    return Numbers(found)


def split_by_video(path: Path, out: Path, how: Part | Numbers) -> SplitCounts:
    """Writes the rows of `path` to two files in `out`, each row as it is, and what was held out to
    `split.json`.

    JSON lines stay the same bytes. The file is read three times, so memory holds only the names of
    the videos. Raises DataError for a row without a video, and where one side would be empty.
    """
    is_parquet = _is_parquet(path)
    rows: Callable[[Path], Iterator[tuple[str, VideoKind, Any]]] = (
        _parquet_rows if is_parquet else _lines
    )
    videos: dict[str, VideoKind] = {}
    for name, kind, _ in rows(path):
        videos.setdefault(name, kind)
    held = how.held_out(videos)
    if not videos or not held or len(held) == len(videos):
        raise DataError(
            f"{len(held):,} of the {len(videos):,} videos of {path} would be held out; both sides "
            "need a video: give another number or part"
        )
    write: Callable[[Path, Iterator[Any]], int] = parquet_rows.write if is_parquet else _write_lines
    files, num_rows = {}, {}
    for side in (TRAIN, HELD_OUT):
        files[side] = out / f"{side}{'.parquet' if is_parquet else '.jsonl'}"
        kept = (row for name, _, row in rows(path) if (name in held) is (side == HELD_OUT))
        num_rows[side] = write(files[side], kept)
    num_videos = {TRAIN: len(videos) - len(held), HELD_OUT: len(held)}
    with replacing(out / ABOUT) as temporary:
        about = {"rows": str(path), "num_rows": num_rows, "num_videos": num_videos}
        about["held_out_videos"] = sorted(held)
        temporary.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return SplitCounts(num_rows, num_videos, files)


def written_files(out: Path) -> list[Path]:
    """Every file that `split_by_video` may write in `out`."""
    sides = (f"{side}{ending}" for side in (TRAIN, HELD_OUT) for ending in (".parquet", ".jsonl"))
    return [out / name for name in (*sides, ABOUT)]


def video_hash(name: str) -> int:
    """Where a video lies among all, from 0 to 2**64 - 1."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8])


def video_name(written: str) -> str:
    """The name that a video is held out by, of a path, a moment or a picture of it."""
    path = written.replace("\\", "/").partition("#t=")[0]
    path = (
        _PICTURE.sub("", path)
        if _PICTURE.search(path)
        else str(PurePosixPath(path).with_suffix(""))
    )
    return _WINDOW.sub("", str(PurePosixPath(path)))


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); give {EXPECTED}") from error


def _lines(path: Path) -> Iterator[tuple[str, VideoKind, bytes]]:
    for where, line in filled_lines(path, EXPECTED):
        value = json_object(line, where, EXPECTED)
        name, kind = _of_messages(value, where) if "messages" in value else _of_row(value, where)
        yield name, kind, line


def _parquet_rows(path: Path) -> Iterator[tuple[str, VideoKind, dict[str, Any]]]:
    for where, value in read_parquet(path, parquet_rows.NEEDED):
        yield *_of_row(value, where), value


def _of_row(value: Any, where: str) -> tuple[str, VideoKind]:
    row = read_as(_Named, value, where)
    return video_name(row.video), row.kind


def _of_messages(value: Any, where: str) -> tuple[str, VideoKind]:
    images = read_as(_Images, value, where).images
    if not images:
        raise DataError(f"{where}: it names no image, so its video is not known; leave it out")
    first = {"path": images[0]} if isinstance(images[0], str) else images[0]
    return video_name(read_as(_Picture, first, f"{where}, image 1").path), VideoKind.OTHER


def _write_lines(path: Path, lines: Iterator[bytes]) -> int:
    number = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        for line in lines:
            file.write(line if line.endswith(b"\n") else line + b"\n")
            number += 1
    return number
