"""Reads gold files in the format of ProactiveVideoQA's `anno.json`.

A list of rows {video, question_id, duration, conversation: [{role, content, time}], answer:
[{content, reply_timespan: [start, end], related_timespan?: [start, end], question?, visible_s?}]};
all times in seconds, other keys are ignored. The last two are ours: which of several questions a
reply answers, and when its event can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.fields import Duration, NonEmptyText, Seconds, Span, WideSpan, read_as
from oncue.json_files import json_file
from oncue.types import GoldTurn, Question, Task

TOLERANCE_S = 1e-3  # a span cut to the duration may pass it by the rounding of decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    role: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserTurn:
    content: NonEmptyText
    time: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    content: NonEmptyText
    reply_timespan: WideSpan
    related_timespan: Span | None = None
    question: NonEmptyText | None = None
    visible_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    video: NonEmptyText
    question_id: NonEmptyText
    duration: Duration
    conversation: tuple[dict[str, Any], ...]
    answer: tuple[_Answer, ...]


@dataclass(frozen=True, slots=True)
class GoldSample:
    """A task and the file name of the video it is about."""

    video: str
    task: Task


def load_gold(path: str | Path) -> list[GoldSample]:
    """The samples of a gold file, in its order.

    Every user turn becomes a Question (subtitles, too), in order of time; a gold turn that names
    none belongs to the first of them. Raises DataError, with the number of the row (from 1), for
    what breaks the format: a missing field, a span without width or outside the video, a
    `question_id` given twice.
    """
    rows = json_file(path, "a gold file, a list of rows")
    if not isinstance(rows, list) or not rows:
        got = "an empty one" if rows == [] else type(rows).__name__
        raise DataError(f"gold file {path} must hold a non-empty list of rows, got {got}")
    samples = [_read_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    seen: dict[str, int] = {}
    for number, sample in enumerate(samples, 1):
        first = seen.setdefault(sample.task.task_id, number)
        if first != number:
            raise DataError(
                f"{path}, row {number}: question_id {sample.task.task_id!r} is in row {first} "
                "too; make it unique"
            )
    return samples


def _read_row(value: Any, where: str) -> GoldSample:
    row = read_as(_Row, value, where)
    turns = [(turn, f"{where}, conversation {n}") for n, turn in enumerate(row.conversation, 1)]
    asked = [
        read_as(_UserTurn, turn, place)
        for turn, place in turns
        if read_as(_Turn, turn, place).role == "user"
    ]
    questions = tuple(
        sorted((Question(turn.content, turn.time) for turn in asked), key=lambda q: q.time_s)
    )
    if not questions:
        raise DataError(f"{where}: 'conversation' has no user turn; a row needs a question")
    for number, turn in enumerate(row.answer, 1):
        span = turn.reply_timespan
        if span.start_s < 0 or span.end_s > row.duration + TOLERANCE_S:
            raise DataError(
                f"{where}, answer {number}: 'reply_timespan' {span.start_s} to {span.end_s} s lies "
                f"outside the video of {row.duration} s"
            )
    gold = tuple(
        GoldTurn(
            turn.content,
            turn.reply_timespan,
            turn.question or questions[0].text,
            turn.visible_s,
            turn.related_timespan,
        )
        for turn in row.answer
    )
    return GoldSample(row.video, Task(row.question_id, questions, gold, row.duration))
