"""The rows of StreamPro-Bench, in a form of our own, and the windows in which answers are due.

JSON lines or an array: {"id", "video", "task", "question", "question_time"?, "duration"?,
"answers": [{"time": t or [start, end], "content", "span"?}]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.streams.stream import Item, Stream
from oncue.fields import IdText, NonEmptyText, Seconds, Span, field_as, read_as
from oncue.json_files import json_rows
from oncue.types import GoldTurn, Question, TimeSpan

GROUNDING = "grounding"
_EXPECTED = 'rows of StreamPro-Bench, {"id", "video", "task", "question", "answers": [...]}'


@dataclass(frozen=True, slots=True)
class Timing:
    """When a reply may come, counted from the time of an answer (from both ends of a span), and
    after how long its score would have fallen to 0 on either side."""

    before_s: float
    after_s: float
    early_tau_s: float
    late_tau_s: float


TIMINGS = {
    "event": Timing(0.0, 3.0, 4.0, 4.0),
    "temporal": Timing(0.0, 3.0, 4.0, 4.0),
    "object": Timing(3.0, 3.0, 4.0, 4.0),
    "anomaly": Timing(0.0, 5.0, 6.0, 6.0),
    GROUNDING: Timing(3.0, 3.0, 4.0, 4.0),  # around the end of the stretch
    "planning": Timing(3.0, 0.0, 4.0, 4.0),
    "risk": Timing(1.0, 3.0, 2.0, 4.0),  # around the warning, 3 s before the hazard
}


@dataclass(frozen=True, slots=True)
class Due:
    """An answer due: at a time, or over a span. `stretch`: the one to be named, for grounding."""

    span: TimeSpan
    content: str
    stretch: TimeSpan | None = None


@dataclass(frozen=True, slots=True)
class Gold:
    """The kind of task, and the answers due in time order."""

    task: str
    due: tuple[Due, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: IdText
    video: IdText
    task: NonEmptyText
    question: NonEmptyText
    question_time: Seconds | None = None
    duration: Seconds | None = None
    answers: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    time: Any
    content: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    span: Span
    content: str | None = None


def read_items(annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
    """The rows of all files. Raises DataError."""
    return [
        _item_of(row, where) for path in annotations for where, row in json_rows(path, _EXPECTED)
    ]


def window_of(due: Due, timing: Timing) -> TimeSpan:
    """Where a reply to an answer due may come."""
    return TimeSpan(due.span.start_s - timing.before_s, due.span.end_s + timing.after_s)


def _item_of(value: Mapping[str, Any], where: str) -> Item[Gold]:
    row = read_as(_Row, value, where)
    task = row.task
    if task not in TIMINGS:
        raise DataError(f"{where}: unknown task {task!r}; expected one of {', '.join(TIMINGS)}")
    due = sorted(
        (
            _due_of(answer, task, f"{where}, answer {number}")
            for number, answer in enumerate(row.answers, 1)
        ),
        key=lambda d: d.span.start_s,
    )
    timing = TIMINGS[task]
    shown = (
        TimeSpan(max(0.0, window_of(d, timing).start_s), max(0.0, window_of(d, timing).end_s))
        for d in due
    )
    stream = Stream(
        row.id,
        row.video,
        (Question(row.question, row.question_time or 0.0),),
        tuple(
            GoldTurn(d.content, span, row.question, visible_s=d.span.start_s)
            for d, span in zip(due, shown, strict=True)
        ),
        duration_s=row.duration,
        subset=task,
    )
    return Item(stream, Gold(task, tuple(due)))


def _due_of(value: Any, task: str, where: str) -> Due:
    """Of grounding, the end of the `span` that is to be named is when the answer is due."""
    if task == GROUNDING:
        stretch = read_as(_Stretch, value, where)
        at_end = TimeSpan(stretch.span.end_s, stretch.span.end_s)
        return Due(at_end, stretch.content or "", stretch.span)
    answer = read_as(_Answer, value, where)
    if isinstance(answer.time, list):
        return Due(field_as(Span, value, "time", where), answer.content)
    time_s = field_as(Seconds, value, "time", where)
    return Due(TimeSpan(time_s, time_s), answer.content)
