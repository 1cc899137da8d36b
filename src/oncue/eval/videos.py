"""Which items of a benchmark are run: the videos they are about must be there."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from oncue.data.video_files import find_video
from oncue.errors import DataError

_ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".ts", ".mpg", ".flv", ".wmv")
ItemT = TypeVar("ItemT")


class MissingVideosError(DataError):
    """Videos are not there. `paths`: where each was looked for first."""

    def __init__(self, message: str, paths: Iterable[Path]) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class ChosenItems(Generic[ItemT]):
    """The items to be run, in order, the paths of their videos by what they call them; how many
    items are left out because of `num_missing` videos that are not there."""

    items: tuple[ItemT, ...]
    paths: Mapping[str, Path]
    num_left_out: int = 0
    num_missing: int = 0


def choose_items(
    items: Sequence[ItemT],
    video_of: Callable[[ItemT], str],
    folder: Path | None,
    *,
    files: Mapping[str, str | None] | None = None,
    limit: int | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> ChosenItems[ItemT]:
    """`limit` of the items (None: all), drawn by `seed`, and their videos in `folder`; no videos
    without a folder.

    `allow_missing` leaves out the items whose video is not there, before any are drawn. `files` as
    of `find_videos`. Raises MissingVideosError without it, DataError where no video is there, and
    as `find_videos`.
    """
    if folder is None:
        return ChosenItems(_drawn(items, limit, seed), {})
    if not allow_missing:
        chosen = _drawn(items, limit, seed)
        found = find_videos(map(video_of, chosen), folder, files)
        if found.missing:
            raise MissingVideosError(
                f"{len(found.missing)} of {len(found.missing) + len(found.paths)} videos are not "
                f"in {folder}; add them, or leave what is asked about them out with "
                "--allow-missing",
                found.missing.values(),
            )
        return ChosenItems(chosen, found.paths)
    found = find_videos(map(video_of, items), folder, files)
    present = [item for item in items if video_of(item) in found.paths]
    if not present:
        raise MissingVideosError(
            f"none of {len(found.missing)} videos is in {folder}; give their folder with --videos",
            found.missing.values(),
        )
    num_left_out = len(items) - len(present)
    return ChosenItems(_drawn(present, limit, seed), found.paths, num_left_out, len(found.missing))


def _drawn(items: Sequence[ItemT], limit: int | None, seed: int) -> tuple[ItemT, ...]:
    if limit is None or limit >= len(items):
        return tuple(items)
    chosen = random.Random(seed).sample(range(len(items)), limit)
    return tuple(items[number] for number in sorted(chosen))


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """`paths`: the file of each video, by what the items call it. `missing`: where those that
    are not there would be looked for first."""

    paths: Mapping[str, Path]
    missing: Mapping[str, Path]


def find_videos(
    names: Iterable[str], folder: Path, files: Mapping[str, str | None] | None = None
) -> FoundVideos:
    """Looks for the videos of these names in `folder`: at the path that a name gives, or at an end
    of it, and then anywhere below, where a name may lack its ending (YouTube ids do).

    `files`: the file of a name that is called otherwise there, None where there is none. Raises
    DataError for a folder that is none, and for a name that several files have.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give that of the videos with --videos")
    called = {name: (files or {}).get(name, name) for name in names}
    paths: dict[str, Path] = {}
    for name, file in called.items():
        if file is not None and (found := _at_path(file, folder)) is not None:
            paths[name] = found
    below = _files_below(folder) if len(paths) < len(called) else {}
    missing = {}
    for name, file in called.items():
        if name in paths:
            continue
        found_files = [] if file is None else below.get(Path(file).name, [])
        if len(found_files) > 1:
            raise DataError(
                f"the video {name} may be {found_files[0]} or {found_files[1]}; leave one of them "
                "in the folder of --videos"
            )
        if found_files:
            paths[name] = found_files[0]
        else:
            looked_for = file or name
            missing[name] = folder / (
                looked_for if Path(looked_for).suffix.lower() in _ENDINGS else f"{looked_for}.mp4"
            )
    return FoundVideos(paths, missing)


def _at_path(name: str, folder: Path) -> Path | None:
    try:
        return find_video(name, folder)
    except DataError:
        return None


def _files_below(folder: Path) -> dict[str, list[Path]]:
    """The video files in `folder` and its folders, by their name with and without its ending."""
    found: dict[str, list[Path]] = {}
    walked: set[str] = set()  # links may lead round in a circle
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in walked:
            folders.clear()
            continue
        walked.add(real)
        folders.sort()
        for file in sorted(files):
            path = Path(place, file)
            if path.suffix.lower() in _ENDINGS and not file.startswith("."):
                for name in (path.name, path.stem):
                    found.setdefault(name, []).append(path)
    return found
