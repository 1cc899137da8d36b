"""NExT-GQA: questions with five options, and the segments of the video that show the answer.

Its own files: `val.csv`, `test.csv` {video_id, question, answer, qid, type, a0 ... a4; other
columns are ignored} beside `gsub_val.json`, `gsub_test.json` {video: {duration, location: {qid:
[[s, s], ...]}}}. Or the rows of VideoChat-R1, a list of {id, video, question, options, duration,
glue: [[s, s], ...], type, answer}, which need no other file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.data.choices import read_answer, read_options
from oncue.data.retrieval_rows import RetrievalRow
from oncue.errors import DataError
from oncue.fields import (
    field_of,
    id_of,
    optional_text_of,
    seconds_of,
    spans_of,
    text_of,
    whole_text,
)

SOURCE = "NExT-GQA"
EXPECTED = (
    "CSV files of questions with the JSON files of their segments (gsub), or JSON lists of rows "
    "with glue"
)
_OPTIONS = ("a0", "a1", "a2", "a3", "a4")
_COLUMNS = ("video_id", "question", "answer", "qid", "type", *_OPTIONS)

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
    loaded = {path: _json(path) for path in paths if path not in tables}
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
    loaded = [_json(path) for path in paths if path.suffix.lower() != ".csv"]
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
    video, qid = text_of(question, "video_id", where), text_of(question, "qid", where)
    options = read_options([question[name] for name in _OPTIONS], where)
    if places is not None and video not in places:
        raise DataError(f"{where}: the map of videos has no {video!r}; give the map of this split")
    place, entry = segments or (where, None)
    return RetrievalRow(
        row_id=f"nextgqa_{video}_{qid}",
        question=text_of(question, "question", where),
        answer=read_answer(question["answer"], options, where, "answer"),
        video=f"{places[video] if places is not None else video}.mp4",
        options=options,
        source=SOURCE,
        task_type=whole_text(question["type"], f"{where}: 'type'"),
        duration_s=_duration_of(entry, place) if entry is not None else None,
        spans=spans_of(entry["location"], qid, place) if entry is not None else (),
    )


def _videochat_row(row: Any, where: str) -> RetrievalRow:
    options = read_options(field_of(row, "options", where), where)
    if not options:
        raise DataError(f"{where}: 'options' is empty; expected the options of the question")
    video = text_of(row, "video", where)
    return RetrievalRow(
        row_id=f"nextgqa_{Path(video).stem}_{id_of(row, 'id', where)}",
        question=text_of(row, "question", where),
        answer=read_answer(field_of(row, "answer", where), options, where, "answer"),
        video=video if Path(video).suffix else f"{video}.mp4",
        options=options,
        source=SOURCE,
        task_type=optional_text_of(row, "type", where),
        duration_s=_duration_of(row, where),
        spans=spans_of(row, "glue", where),
    )


def _duration_of(row: Any, where: str) -> float:
    duration_s = seconds_of(row, "duration", where)
    if not duration_s > 0:
        raise DataError(f"{where}: 'duration' must be more than 0 s, got {duration_s:g}")
    return duration_s


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
        location = field_of(entry, "location", where)
        if not isinstance(location, Mapping):
            raise DataError(
                f"{where}: 'location' must be an object from question to segments, got "
                f"{location!r:.60}"
            )
        for qid in location:
            yield (video, qid), (f"{where}, question {qid}", entry)


def _video_paths(path: Path | None) -> Mapping[str, str] | None:
    if path is None:
        return None
    value = _json(path)
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise DataError(f"{path} must hold an object from the name of a video to its path")
    return value


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; expected {EXPECTED}") from error
    except (ValueError, RecursionError) as error:  # also for numbers too long and values too deep
        raise DataError(f"{path} is not JSON ({error}); expected {EXPECTED}") from error
