"""The videos of a folder, and the file of a video that a data set names without its ending."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from oncue.errors import DataError
from oncue.video.decode import Decoder

VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp"
)  # fmt: skip


def videos_under(folder: Path) -> Iterator[Path]:
    """Every video file in `folder` and the folders in it, in order of their paths. What begins with
    a dot is passed over. Raises DataError for a folder that cannot be read."""
    return (path for path in files_under(folder) if path.suffix.lower() in VIDEO_SUFFIXES)


def files_under(folder: Path) -> Iterator[Path]:
    """Every file in `folder` and the folders in it, as `videos_under`."""

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename} ({error.strerror})") from error

    seen = {os.path.realpath(folder)}  # a link may lead back
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        open_folders = sorted(name for name in folders if not name.startswith("."))
        real = {name: os.path.realpath(os.path.join(place, name)) for name in open_folders}
        folders[:] = [name for name in open_folders if real[name] not in seen]
        seen.update(real.values())
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def videos_by_name(folder: Path | None) -> Mapping[str, str]:
    """The path from `folder` of each video in it, by its name without ending; the first of a name
    that several have. Nothing without a folder."""
    by_name: dict[str, str] = {}
    if folder is not None:
        for path in videos_under(folder):
            by_name.setdefault(path.stem, path.relative_to(folder).as_posix())
    return by_name


def videos_at(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """The videos that are these files or lie in these folders, each with a name: its path from the
    folder without ending, "/" written as "_". Paths are absolute."""
    for path in paths:
        if path.is_dir():
            for video in videos_under(path):
                inside = video.relative_to(path).with_suffix("")
                yield "_".join(inside.parts), video.absolute()
        else:
            yield path.stem, path.absolute()


def path_from(folder: Path | None, video: Path) -> str:
    """How rows name a video: its path from the folder that paths count from, where it lies in that,
    so that all sources name one file alike. Else its absolute path."""
    if folder is not None and video.is_relative_to(folder.absolute()):
        return video.relative_to(folder.absolute()).as_posix()
    return str(video)


def declared_duration_s(video: Path) -> float | None:
    """The length that a video file promises, None where it promises none. Raises VideoError for
    what cannot be opened as a video."""
    decoder = Decoder(video)
    try:
        return decoder.declared_s
    finally:
        decoder.close()
