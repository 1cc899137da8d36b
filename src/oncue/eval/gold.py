"""Reads gold files in the format of ProactiveVideoQA's `anno.json`.

A list of rows {video, question_id, duration, conversation: [{role, content, time}], answer: [{content,
reply_timespan: [start, end], related_timespan?: [start, end], question?, visible_s?}]}; all times in seconds, other
keys are ignored. The last two are ours: which of several questions a reply answers, and when its event can be seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.types import GoldTurn, Question, Task, TimeSpan

TOLERANCE_S = 1e-3  # a span cut to the duration may pass it by the rounding of decimals


@dataclass(frozen=True, slots=True)
class GoldSample:
    """A task and the file name of the video it is about."""

    video: str
    task: Task


def load_gold(path: str | Path) -> list[GoldSample]:
    """The samples of a gold file, in its order.

    Every user turn becomes a Question (subtitles, too); a gold turn that names none belongs to the first of them.
    Raises DataError, with the number of the row (from 1), for what breaks the format: a missing field, a span without
    width or outside the video, a `question_id` given twice.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read gold file {path}: {error}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"gold file {path} is not JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"gold file {path} must hold a non-empty list of rows, got {type(rows).__name__}")
    samples = [_read_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    seen: dict[str, int] = {}
    for number, sample in enumerate(samples, 1):
        first = seen.setdefault(sample.task.task_id, number)
        if first != number:
            raise DataError(
                f"{path}, row {number}: question_id {sample.task.task_id!r} stands in row {first} too; make it unique"
            )
    return samples


def _read_row(row: Any, where: str) -> GoldSample:
    duration_s = _seconds(row, "duration", where)
    if duration_s <= 0:
        raise DataError(f"{where}: the duration must be more than 0 s, got {duration_s}")
    questions = tuple(
        Question(_text(turn, "content", f"{where}, user turn {n}"), _seconds(turn, "time", f"{where}, user turn {n}"))
        for n, turn in enumerate(_items(row, "conversation", where), 1)
        if _text(turn, "role", f"{where}, user turn {n}") == "user"
    )
    if not questions:
        raise DataError(f"{where}: 'conversation' has no user turn; a row needs a question")
    gold = tuple(
        _read_gold(turn, questions[0].text, duration_s, f"{where}, answer {n}")
        for n, turn in enumerate(_items(row, "answer", where), 1)
    )
    return GoldSample(_text(row, "video", where), Task(_text(row, "question_id", where), questions, gold, duration_s))


def _read_gold(turn: Any, question: str, duration_s: float, where: str) -> GoldTurn:
    span = _span(turn, "reply_timespan", where)
    if span.duration_s <= 0:
        raise DataError(f"{where}: reply_timespan has no width ({span.start_s} s); widen or drop it")
    if span.start_s < 0 or span.end_s > duration_s + TOLERANCE_S:
        raise DataError(
            f"{where}: reply_timespan {span.start_s} to {span.end_s} s lies outside the video of {duration_s} s"
        )
    related = _span(turn, "related_timespan", where) if "related_timespan" in turn else None
    asked = _text(turn, "question", where) if "question" in turn else question
    visible_s = _seconds(turn, "visible_s", where) if turn.get("visible_s") is not None else None
    return GoldTurn(_text(turn, "content", where), span, asked, visible_s, related)


def _field(row: Any, name: str, where: str) -> Any:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected an object with named fields, got {type(row).__name__}")
    if name not in row:
        raise DataError(f"{where}: field {name!r} is missing; it has {', '.join(map(str, row)) or 'none'}")
    return row[name]


def _text(row: Any, name: str, where: str) -> str:
    value = _field(row, name, where)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name!r} must be non-empty text, got {value!r}")
    return value


def _items(row: Any, name: str, where: str) -> list[Any]:
    value = _field(row, name, where)
    if not isinstance(value, list):
        raise DataError(f"{where}: {name!r} must be a list, got {type(value).__name__}")
    return value


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _seconds(row: Any, name: str, where: str) -> float:
    value = _field(row, name, where)
    if not _is_seconds(value) or value < 0:
        raise DataError(f"{where}: {name!r} must be a number of seconds, 0 or more, got {value!r}")
    return float(value)


def _span(row: Any, name: str, where: str) -> TimeSpan:
    value = _field(row, name, where)
    if not (isinstance(value, list) and len(value) == 2 and all(map(_is_seconds, value))):
        raise DataError(f"{where}: {name!r} must be [start, end] in seconds, got {value!r}")
    if value[1] < value[0]:
        raise DataError(f"{where}: {name!r} ends before it starts: {value}")
    return TimeSpan(float(value[0]), float(value[1]))
