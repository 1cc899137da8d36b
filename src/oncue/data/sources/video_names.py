"""The videos of a folder, and the file of a video that a data set names without its ending."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from oncue.errors import DataError

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
