"""Reads gold files in the format of ProactiveVideoQA's `anno.json`.

A list of rows {video, question_id, duration, conversation: [{role, content, time}], answer:
[{content, reply_timespan: [start, end], related_timespan?: [start, end], question?, visible_s?}]};
all times in seconds, other keys are ignored. The last two are ours: which of several questions a
reply answers, and when its event can be seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.fields import items_of, seconds_of, span_of, text_of
from oncue.types import GoldTurn, Question, Task

TOLERANCE_S = 1e-3  # a span cut to the duration may pass it by the rounding of decimals


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
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read gold file {path}: {error}") from error
    except (ValueError, RecursionError) as error:  # also for numbers too long and values too deep
        raise DataError(f"gold file {path} is not JSON: {error}") from error
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


def _read_row(row: Any, where: str) -> GoldSample:
    duration_s = seconds_of(row, "duration", where)
    if duration_s <= 0:
        raise DataError(f"{where}: the duration must be more than 0 s, got {duration_s}")
    asked = [
        Question(
            text_of(turn, "content", f"{where}, user turn {n}"),
            seconds_of(turn, "time", f"{where}, user turn {n}"),
        )
        for n, turn in enumerate(items_of(row, "conversation", where), 1)
        if text_of(turn, "role", f"{where}, user turn {n}") == "user"
    ]
    questions = tuple(sorted(asked, key=lambda question: question.time_s))
    if not questions:
        raise DataError(f"{where}: 'conversation' has no user turn; a row needs a question")
    gold = tuple(
        _read_gold(turn, questions[0].text, duration_s, f"{where}, answer {n}")
        for n, turn in enumerate(items_of(row, "answer", where), 1)
    )
    return GoldSample(
        text_of(row, "video", where),
        Task(text_of(row, "question_id", where), questions, gold, duration_s),
    )


def _read_gold(turn: Any, question: str, duration_s: float, where: str) -> GoldTurn:
    span = span_of(turn, "reply_timespan", where)
    if span.duration_s <= 0:
        raise DataError(
            f"{where}: reply_timespan has no width ({span.start_s} s); widen or drop it"
        )
    if span.start_s < 0 or span.end_s > duration_s + TOLERANCE_S:
        raise DataError(
            f"{where}: reply_timespan {span.start_s} to {span.end_s} s lies outside the video of "
            f"{duration_s} s"
        )
    related = (
        span_of(turn, "related_timespan", where)
        if turn.get("related_timespan") is not None
        else None
    )
    asked = text_of(turn, "question", where) if turn.get("question") is not None else question
    visible_s = seconds_of(turn, "visible_s", where) if turn.get("visible_s") is not None else None
    return GoldTurn(text_of(turn, "content", where), span, asked, visible_s, related)
