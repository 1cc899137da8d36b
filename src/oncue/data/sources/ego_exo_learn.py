"""EgoExoLearn: steps of kitchen and laboratory work, seen from the head.

Coarse: `coarse_annotations.tar.gz`, or the folder it unpacks to, with a file per video:

    l1/VIDEO_UID.json  [{"start": s, "end": s, "duration": s, "textAttribute_en": text}, ...]

Fine: `fine_annotation_*_en.csv` with the columns video_uid, view, start_sec, end_sec, and a text in
narration_en_no_hand_prompt, narration_en or narration_en_hand_prompt (the first of these that has
one). Other keys and columns are ignored, and so are rows whose view is exo.

A text of numbered lines becomes one line of sentences. Segments may overlap. One that passes the
end of its video, by rounding, is cut there. What a translation model answered in place of a
translation ("I'm ready to translate! ...") is no text, and its segment is left out.
"""

from __future__ import annotations

import csv
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from oncue.data.source_videos import Remark, SourceVideo, VideoKind
from oncue.data.sources.segments import scene_of, sound_scenes
from oncue.data.sources.video_names import files_under, videos_by_name
from oncue.errors import DataError
from oncue.fields import Duration, Seconds, read_as
from oncue.types import TimeSpan

SOURCE = "EgoExoLearn"
EXPECTED = (
    "coarse_annotations.tar.gz of EgoExoLearn, its folder l1, a VIDEO_UID.json of it, or "
    "fine_annotation_*_en.csv"
)
_COLUMNS = ("video_uid", "start_sec", "end_sec")
_TEXTS = ("narration_en_no_hand_prompt", "narration_en", "narration_en_hand_prompt")
_REFUSAL = re.compile(
    r"\bready to translate\b|"
    r"\b(?:sorry|happy to help|cannot see|don't see|provide)\b[^\n]*\bsentences\b[^\n]*\btranslat",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"^\s*\d{1,2}\s*[.)、]\s*", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    start: Seconds
    end: Seconds
    textAttribute_en: str  # as the files name it
    duration: Duration | None = None

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"it ends at {self.end:g} s, before it starts at {self.start:g} s")


@dataclass(frozen=True, slots=True)
class EgoExoLearn:
    """The videos of these files. `folder`: where the videos are, to find how they end."""

    paths: tuple[Path, ...]
    folder: Path | None = None

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError for a path that holds none of these."""
        places = videos_by_name(self.folder)
        for path in self.paths:
            if path.suffix.lower() == ".csv":
                yield from _fine_videos(path, places)
                continue
            num_files = 0
            for uid, where, text in _coarse_files(path):
                num_files += 1
                yield from _coarse_video(uid, text, where, places)
            if not num_files:
                raise DataError(f"{path} holds no JSON file; expected {EXPECTED}")


def clean_text(text: str) -> str:
    """The text of a segment in one line, without the numbers of its lines. Each line ends as a
    sentence."""
    lines = [line.strip() for line in _NUMBER.sub("", text).splitlines()]
    return " ".join(
        line if line[-1] in ".!?,;:" or number == len(lines) else f"{line}."
        for number, line in enumerate(lines, 1)
        if line
    )


def is_refusal(text: str) -> bool:
    """Whether a translation model answered this in place of a translation."""
    return bool(_REFUSAL.search(text))


def _coarse_files(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name of the video, place, and bytes of each file."""
    if path.is_dir() or path.suffix.lower() == ".json":
        files = files_under(path) if path.is_dir() else iter([path])
        for file in files:
            if file.suffix.lower() == ".json":
                try:
                    yield file.stem, str(file), file.read_bytes()
                except OSError as error:
                    raise DataError(f"cannot read {file} ({error.strerror})") from error
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                data = archive.extractfile(member) if member.isfile() else None
                if data is not None and name.suffix == ".json" and not name.name.startswith("."):
                    yield name.stem, f"{path}, {member.name}", data.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"cannot read {path} as a tar file ({error}); expected {EXPECTED}"
        ) from error


def _coarse_video(
    uid: str, data: bytes, where: str, places: Mapping[str, str]
) -> Iterator[SourceVideo | DataError]:
    try:
        rows = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        yield DataError(f"{where} is not JSON ({error}); expected {EXPECTED}")
        return
    if not isinstance(rows, list):
        yield DataError(f"{where} holds {rows!r:.60}; expected a list of segments")
        return
    durations = [
        row["duration"]
        for row in rows
        if isinstance(row, Mapping) and isinstance(row.get("duration"), int | float)
    ]
    duration_s = max(durations, default=None)

    def scene(number: int) -> Remark:
        place = f"{where}, segment {number + 1}"
        row = read_as(_Segment, rows[number], place)
        return _scene(TimeSpan(row.start, row.end), row.textAttribute_en, duration_s, place)

    yield from _video(uid, [partial(scene, n) for n in range(len(rows))], duration_s, where, places)


def _fine_videos(path: Path, places: Mapping[str, str]) -> Iterator[SourceVideo | DataError]:
    by_video: dict[str, list[Callable[[], Remark]]] = {}
    for where, row in _records(path):
        if (row.get("view") or "ego").strip().lower() != "exo":
            by_video.setdefault(row["video_uid"], []).append(partial(_fine_scene, row, where))
    for uid, makers in by_video.items():
        yield from _video(uid, makers, None, f"{path}, video {uid}", places)


def _video(
    uid: str,
    makers: list[Callable[[], Remark]],
    duration_s: float | None,
    where: str,
    places: Mapping[str, str],
) -> Iterator[SourceVideo | DataError]:
    scenes, faults = sound_scenes(makers)
    yield from faults
    if not scenes:
        yield DataError(f"{where}: no segment of it can be used; leave the video out")
        return
    video = places.get(uid, f"{uid}.mp4")
    yield SourceVideo(
        uid, video, SOURCE, where, VideoKind.EGO, duration_s=duration_s, scenes=scenes
    )


def _fine_scene(row: Mapping[str, str], where: str) -> Remark:
    try:
        start_s, end_s = float(row["start_sec"]), float(row["end_sec"])
        span = TimeSpan(start_s, end_s)
    except ValueError as error:
        raise DataError(f"{where}: its times are no pair of seconds ({error})") from error
    if start_s < 0:
        raise DataError(f"{where}: it begins before 0 s ({start_s:g} s)")
    text = next((row[name] for name in _TEXTS if (row.get(name) or "").strip()), "")
    return _scene(span, text, None, where)


def _scene(span: TimeSpan, text: str, duration_s: float | None, where: str) -> Remark:
    if is_refusal(text):
        raise DataError(
            f"{where}: its text is what a translation model said in place of one ({text!r:.60}); "
            "the segment is left out"
        )
    return scene_of(span, clean_text(text), duration_s, where)


def _records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a CSV file with its place. Raises DataError for a file that is none, lacks a
    column, or has no texts."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, restval="")
            has = table.fieldnames or ()
            if not set(_COLUMNS) <= set(has):
                raise DataError(
                    f"{path} needs the columns {', '.join(_COLUMNS)}; it has "
                    f"{', '.join(has) or 'none'}; expected {EXPECTED}"
                )
            if not set(_TEXTS) & set(has):
                raise DataError(
                    f"{path} has no texts ({', '.join(_TEXTS)}), as the files of the test split; "
                    "give a file whose name ends in _en.csv"
                )
            for record in table:
                yield f"{path}, line {table.line_num}", record
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as CSV: {error}; expected {EXPECTED}") from error
