"""Which questions are asked: the videos they are about must be there."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncue.data.video_files import find_video
from oncue.errors import DataError
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_report import LeftOut

_ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".ts", ".mpg", ".flv", ".wmv")


class MissingVideosError(DataError):
    """Videos are not there. `paths`: where each was looked for first."""

    def __init__(self, message: str, paths: Iterable[Path]) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The questions to be asked, in order, the paths of their videos by what they call them, and
    how many are left out because their videos are missing."""

    questions: tuple[McqQuestion, ...]
    paths: Mapping[str, Path]
    left_out: LeftOut


def choose(
    questions: Sequence[McqQuestion],
    folder: Path | None,
    *,
    limit: int | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> Chosen:
    """`limit` of the questions (None: all), drawn by `seed`, and their videos in `folder`; no
    videos without a folder.

    `allow_missing` leaves out the questions whose video is not there, before any are drawn. Raises
    MissingVideosError without it, DataError where no video is there, and as `find_videos`.
    """
    if folder is None:
        return Chosen(_drawn(questions, limit, seed), {}, LeftOut())
    if not allow_missing:
        drawn = _drawn(questions, limit, seed)
        found = find_videos((question.video for question in drawn), folder)
        if found.missing:
            raise MissingVideosError(
                f"{len(found.missing)} of {len(found.missing) + len(found.paths)} videos are not "
                f"in {folder}; add them, or leave their questions out with --allow-missing",
                found.missing.values(),
            )
        return Chosen(drawn, found.paths, LeftOut())
    found = find_videos((question.video for question in questions), folder)
    present = [question for question in questions if question.video in found.paths]
    if not present:
        raise MissingVideosError(
            f"none of {len(found.missing)} videos is in {folder}; give their folder with --videos",
            found.missing.values(),
        )
    left_out = LeftOut(len(questions) - len(present), len(found.missing))
    return Chosen(_drawn(present, limit, seed), found.paths, left_out)


def _drawn(
    questions: Sequence[McqQuestion], limit: int | None, seed: int
) -> tuple[McqQuestion, ...]:
    if limit is None or limit >= len(questions):
        return tuple(questions)
    chosen = random.Random(seed).sample(range(len(questions)), limit)
    return tuple(questions[number] for number in sorted(chosen))


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """`paths`: the file of each video, by what the questions call it. `missing`: where those that
    are not there would be looked for first."""

    paths: Mapping[str, Path]
    missing: Mapping[str, Path]


def find_videos(names: Iterable[str], folder: Path) -> FoundVideos:
    """Looks for the videos of these names in `folder`: at the path that a name gives, or at an end
    of it, and then anywhere below, where a name may lack its ending (YouTube ids do).

    Raises DataError for a folder that is none, and for a name that several files have.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give that of the videos with --videos")
    wanted = list(dict.fromkeys(names))
    paths: dict[str, Path] = {}
    for name in wanted:
        if (found := _at_path(name, folder)) is not None:
            paths[name] = found
    below = _files_below(folder) if len(paths) < len(wanted) else {}
    missing = {}
    for name in wanted:
        if name in paths:
            continue
        found_files = below.get(Path(name).name, [])
        if len(found_files) > 1:
            raise DataError(
                f"the video {name} may be {found_files[0]} or {found_files[1]}; leave one of them "
                "in the folder of --videos"
            )
        if found_files:
            paths[name] = found_files[0]
        else:
            missing[name] = folder / (
                name if Path(name).suffix.lower() in _ENDINGS else f"{name}.mp4"
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
