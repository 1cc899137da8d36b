"""Reads the questions of public benchmarks of long videos with options to choose from, each in the
form it is published in (docs/eval_mcq.md lists the fields). Files are JSON lines or a JSON array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from oncue.data.choices import read_options
from oncue.data.retrieval_rows import read_rows
from oncue.errors import DataError
from oncue.eval.benchmarks.mcq_question import (
    Id,
    McqQuestion,
    Row,
    duration_of,
    inner_rows,
    kinds_of,
    letter_in,
    letters_of_text,
    no_options,
    numbered_fields,
    numbered_letter,
    plain_options,
    split_options,
)
from oncue.fields import NonEmptyText, Seconds, field_as, first_filled, has_value
from oncue.json_files import json_rows

McqFormat = Literal["videomme", "mlvu", "longvideobench", "lvbench", "egoschema", "rows"]
_TABLES = (".parquet", ".csv", ".tsv", ".xlsx", ".arrow")
_LVB_GROUPS = {15: "8-15 s", 60: "15-60 s", 600: "180-600 s", 3600: "900-3600 s"}
_MOST_WITHOUT = 0.1  # of the questions of a file: beyond it the answers are not what is expected


def read_questions(
    paths: Sequence[Path], form: McqFormat, num_frames: int | None = None
) -> tuple[McqQuestion, ...]:
    """The questions of all files, in order; with their evidence, as indices of a pool of
    `num_frames`, where rows have it and the duration of the video.

    Raises DataError, with file, row and field, for what breaks the format, for an id that is there
    twice, and for files of tables.
    """
    questions: list[McqQuestion] = []
    places: dict[str, Path] = {}
    for path in paths:
        for question in _questions_of(path, form, num_frames):
            if (again := question.question_id) in places:
                raise DataError(
                    f"{path}: the question {again!r} is in {places[again]} already; make its id "
                    "unique, or give each file once"
                )
            places[again] = path
            questions.append(question)
    _check_answers(questions)
    return tuple(questions)


def _check_answers(questions: Sequence[McqQuestion]) -> None:
    """Raises DataError where hardly any answer can be the text of an option."""
    without = [question for question in questions if question.gold == ""]
    if len(without) > max(2, _MOST_WITHOUT * len(questions)):
        raise DataError(
            f"{len(without)} of {len(questions)} questions have an 'answer' that is none of their "
            f"options, such as {without[0].question_id!r}; give the text or the letter of an option"
        )


def _questions_of(path: Path, form: McqFormat, num_frames: int | None) -> Iterator[McqQuestion]:
    if path.suffix.lower() in _TABLES:
        raise DataError(
            f"{path} is a table, which is not read here; write it as JSON lines first, such as by "
            f"pandas.read_parquet({path.name!r}).to_json('rows.jsonl', orient='records', "
            "lines=True)"
        )
    if form == "rows":
        yield from _of_retrieval_rows(path, num_frames)
        return
    expected = f"a row of {form}"
    read, num_read = _READERS[form], 0
    for where, row in json_rows(path, expected):
        num_read += 1
        for question in read(row, where, f"{path.stem}_{num_read}"):
            if not question.options:
                raise no_options(where)
            yield question
    if not num_read:
        raise DataError(f"{path} holds no row; expected JSON lines or an array of rows of {form}")


def _videomme(row: Row, where: str, _name: str) -> Iterator[McqQuestion]:
    """Rows of the data set, and those of its form for answers, with the questions of a video
    inside."""
    for place, merged in inner_rows(row, "questions", where):
        options = read_options(field_as(Any, merged, "options", place), place)
        group = field_as(NonEmptyText, merged, "duration", place)
        if group not in ("short", "medium", "long"):
            raise DataError(
                f"{place}: 'duration' must be short, medium or long, got {group!r:.40}; give the "
                "rows as published"
            )
        kept = ("video_id", "duration", "domain", "sub_category", "task_type", "question")
        yield McqQuestion(
            field_as(Id, merged, "question_id", place),
            field_as(NonEmptyText, merged, first_filled(merged, "videoID", "video_id"), place),
            field_as(NonEmptyText, merged, "question", place),
            options,
            letter_in(merged, "answer", options, place),
            group,
            tasks=kinds_of(merged, "task_type", place),
            repeated=tuple((name, merged[name]) for name in kept if has_value(merged, name)),
        )


def _mlvu(row: Row, where: str, name: str) -> Iterator[McqQuestion]:
    kind = first_filled(row, "question_type", "task_type")
    held = field_as(Any, row, first_filled(row, "options", "candidates"), where)
    options = plain_options(held, where, "candidates")
    yield McqQuestion(
        field_as(Id, row, "question_id", where) if has_value(row, "question_id") else name,
        field_as(NonEmptyText, row, first_filled(row, "video", "video_name"), where),
        field_as(NonEmptyText, row, "question", where),
        options,
        letters_of_text(row, options, where),
        duration_s=duration_of(row, where),
        tasks=kinds_of(row, kind, where),
    )


def _longvideobench(row: Row, where: str, _name: str) -> Iterator[McqQuestion]:
    if has_value(row, "candidates"):
        held: Any = row["candidates"]
    else:  # as in its Parquet form, where what is missing is N/A
        held = [text for text in numbered_fields(row, "option") if text not in ("N/A", None)]
    options = plain_options(held, where, "candidates")
    length = row.get("duration_group")
    group = _LVB_GROUPS.get(length, f"up to {length} s") if type(length) is int else ""
    yield McqQuestion(
        field_as(Id, row, "id", where),
        field_as(NonEmptyText, row, "video_path", where),
        field_as(NonEmptyText, row, "question", where),
        options,
        numbered_letter(row, "correct_choice", options, where),
        group,
        duration_of(row, where),
        kinds_of(row, "question_category", where),
    )


def _lvbench(row: Row, where: str, name: str) -> Iterator[McqQuestion]:
    """Rows with the questions of a video inside, and rows with one question."""
    named = first_filled(row, "key", "video_path", "video", "key")
    about = row.get("video_info")
    minutes = about.get("duration_minutes") if isinstance(about, Mapping) else None
    length_s = None if minutes is None else 60 * field_as(Seconds, about, "duration_minutes", where)
    for place, merged in inner_rows(row, "qa", where):
        question = field_as(NonEmptyText, merged, "question", place)
        if has_value(merged, "options"):
            options = read_options(merged["options"], place)
        else:
            question, options = split_options(question, place)
        yield McqQuestion(
            field_as(Id, merged, "uid", place) if has_value(merged, "uid") else name,
            field_as(NonEmptyText, merged, named, place),
            question,
            options,
            letter_in(merged, "answer", options, place),
            duration_s=length_s or duration_of(merged, place),
            tasks=kinds_of(merged, "question_type", place),
        )


def _egoschema(row: Row, where: str, _name: str) -> Iterator[McqQuestion]:
    held = next((row[key] for key in ("option", "options") if has_value(row, key)), None)
    options = plain_options(
        numbered_fields(row, "option ") if held is None else held, where, "option"
    )
    named = first_filled(row, "q_uid", "video_idx")
    yield McqQuestion(
        field_as(Id, row, named, where),
        field_as(NonEmptyText, row, named, where),
        field_as(NonEmptyText, row, "question", where),
        options,
        numbered_letter(row, "answer", options, where),
        duration_s=duration_of(row, where),
    )


def _of_retrieval_rows(path: Path, num_frames: int | None) -> Iterator[McqQuestion]:
    for number, row in enumerate(read_rows(path), 1):
        if not row.options:
            raise DataError(
                f"{path}, row {number} ({row.row_id!r}): it has no 'options'; leave rows without "
                "them out"
            )
        tasks = (row.task_type,) if row.task_type else ()
        is_known = num_frames is not None and row.duration_s is not None
        yield McqQuestion(
            row.row_id,
            row.video,
            row.question,
            row.options,
            row.answer,
            duration_s=row.duration_s,
            tasks=tasks,
            evidence=row.task(num_frames).evidence if is_known else None,
        )


_READERS: Mapping[str, Callable[[Row, str, str], Iterable[McqQuestion]]] = {
    "videomme": _videomme,
    "mlvu": _mlvu,
    "longvideobench": _longvideobench,
    "lvbench": _lvbench,
    "egoschema": _egoschema,
}
