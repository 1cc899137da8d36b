"""NExT-GQA: questions with five options, and the segments of the video that show the answer.

Its own files: `val.csv`, `test.csv` {video_id, question, answer, qid, type, a0 ... a4; other
columns are ignored} beside `gsub_val.json`, `gsub_test.json` {video: {duration, location: {qid:
[[s, s], ...]}}}. Or the rows of VideoChat-R1, a list of {id, video, question, options, duration,
glue: [[s, s], ...], type, answer}, which need no other file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.data.choices import read_answer, read_options
from oncue.data.retrieval_rows import RetrievalRow
from oncue.errors import DataError
from oncue.fields import Duration, IdText, NonEmptyText, VideoSpan, field_as, read_as
from oncue.json_files import json_file

SOURCE = "NExT-GQA"
EXPECTED = (
    "CSV files of questions with the JSON files of their segments (gsub), or JSON lists of rows "
    "with glue"
)
_MAP = "an object from the name of a video to its path"
_OPTIONS = ("a0", "a1", "a2", "a3", "a4")
_COLUMNS = ("video_id", "question", "answer", "qid", "type", *_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    video_id: NonEmptyText
    qid: NonEmptyText
    question: NonEmptyText
    answer: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _VideoSegments:
    location: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _VideoChatRow:
    id: IdText
    video: NonEmptyText
    question: NonEmptyText
    options: Any
    duration: Duration
    glue: tuple[VideoSpan, ...]
    type: str | None = None
    answer: Any


Line = RetrievalRow | DataError
Key = tuple[str, str]  # video and number of the question
Segments = Mapping[Key, tuple[str, Any]]  # the place of each, and what the file has of its video


def read_nextgqa(paths: Sequence[Path], video_map: Path | None = None) -> list[Line]:
    """The questions of all these files as rows without frames, those of CSV files first; or what is
    wrong with one that breaks the format, by file and row.

    `video_map`: the data set's `map_vid_vidorID.json`, from the name of a video to its path without
    ending; without it a video is `NAME.mp4`. A question without segments has no spans. Raises
    DataError for files that cannot be read, or do not belong together.
    """
    if not paths:
        raise DataError(f"no file was given; expected {EXPECTED}")
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    loaded = {path: json_file(path, EXPECTED) for path in paths if path not in tables}
    segments = dict(
        entry
        for path, value in loaded.items()
        if isinstance(value, Mapping)
        for entry in _segments(value, path)
    )
    lines = _question_lines(tables, segments, _video_paths(video_map))
    for path, value in loaded.items():
        if isinstance(value, list):
            lines += [
                _made(_videochat_row, row, f"{path}, row {number}")
                for number, row in enumerate(value, 1)
            ]
    if not lines:
        raise DataError(f"{', '.join(map(str, paths))}: no question; expected {EXPECTED}")
    return lines


def num_unasked_videos(paths: Sequence[Path]) -> int:
    """How many videos of the files of segments have no question. Raises DataError as
    `read_nextgqa`, which it is to be called after."""
    loaded = [json_file(path, EXPECTED) for path in paths if path.suffix.lower() != ".csv"]
    return sum(
        not entry["location"]
        for value in loaded
        if isinstance(value, Mapping)
        for entry in value.values()
    )


def _question_lines(
    tables: Sequence[Path], segments: Segments, places: Mapping[str, str] | None
) -> list[Line]:
    """The questions of the CSV files, and the segments that belong to none."""
    lines: list[Line] = []
    asked: set[Key] = set()
    for path in tables:
        for where, question in _records(path):
            key = question["video_id"], question["qid"]
            if key in asked:
                lines.append(DataError(f"{where}: question {key[1]} of {key[0]} is there twice"))
                continue
            asked.add(key)
            lines.append(_made(_row, question, where, segments.get(key), places))
    if bool(tables) != bool(segments) or (tables and not asked & segments.keys()):
        raise DataError(
            f"no question of the files has a segment; expected {EXPECTED}, of one split"
        )
    lines += [
        DataError(f"{where}: none of the CSV files has this question; add its CSV file")
        for key, (where, _) in segments.items()
        if key not in asked
    ]
    return lines


def _row(
    question: Mapping[str, str],
    where: str,
    segments: tuple[str, Any] | None,
    places: Mapping[str, str] | None,
) -> RetrievalRow:
    row = read_as(_Question, question, where)
    options = read_options([question[name] for name in _OPTIONS], where)
    video = row.video_id
    if places is not None and video not in places:
        raise DataError(f"{where}: the map of videos has no {video!r}; give the map of this split")
    place, entry = segments or (where, None)
    return RetrievalRow(
        row_id=f"nextgqa_{video}_{row.qid}",
        question=row.question,
        answer=read_answer(row.answer, options, where, "answer"),
        video=f"{places[video] if places is not None else video}.mp4",
        options=options,
        source=SOURCE,
        task_type=row.type,
        duration_s=field_as(Duration, entry, "duration", place) if entry is not None else None,
        spans=field_as(tuple[VideoSpan, ...], entry["location"], row.qid, place)
        if entry is not None
        else (),
    )


def _videochat_row(value: Any, where: str) -> RetrievalRow:
    row = read_as(_VideoChatRow, value, where)
    options = read_options(row.options, where)
    if not options:
        raise DataError(f"{where}: 'options' is empty; expected the options of the question")
    return RetrievalRow(
        row_id=f"nextgqa_{Path(row.video).stem}_{row.id}",
        question=row.question,
        answer=read_answer(row.answer, options, where, "answer"),
        video=row.video if Path(row.video).suffix else f"{row.video}.mp4",
        options=options,
        source=SOURCE,
        task_type=row.type or "",
        duration_s=row.duration,
        spans=row.glue,
    )


def _made(make: Callable[..., RetrievalRow], *of: Any) -> Line:
    try:
        return make(*of)
    except DataError as error:
        return error


def _records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a CSV file with its place. Raises DataError for a file that is none, or lacks a
    column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            missing = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}; it has "
                    f"{', '.join(table.fieldnames or ['none'])}; expected {EXPECTED}"
                )
            for record in table:
                where = f"{path}, line {table.line_num}"
                if None in record.values() or None in record:
                    raise DataError(
                        f"{where}: expected {len(table.fieldnames or ())} values, as the head of "
                        "the file has columns; correct the line"
                    )
                yield where, record
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as CSV: {error}; expected {EXPECTED}") from error


def _segments(videos: Mapping[str, Any], path: Path) -> Iterator[tuple[Key, tuple[str, Any]]]:
    """The entries of a file of segments, by question."""
    for video, entry in videos.items():
        where = f"{path}, video {video}"
        for qid in read_as(_VideoSegments, entry, where).location:
            yield (video, qid), (f"{where}, question {qid}", entry)


def _video_paths(path: Path | None) -> Mapping[str, str] | None:
    if path is None:
        return None
    return read_as(dict[str, str], json_file(path, _MAP), str(path))
