"""StreamPro-Bench, F1 as the paper describes it: no code was released.

Each answer due opens a window around its time. A reply in a window scores its timing (1 at best)
times its content (0 to 1). An answer keeps the best score S of its window; precision is the sum of
S over all replies, recall the sum of S over all answers due.

Annotations, in a form of our own, JSON lines or an array: {"id", "video", "task", "question",
"question_time"?, "duration"?, "answers": [{"time": t or [start, end], "content", "span"?}]}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncue.errors import ConfigError, DataError
from oncue.eval.streams.benchmark import (
    BlindRow,
    BySubset,
    Card,
    Figures,
    Headline,
    ItemScore,
    Mark,
    Published,
    Terms,
)
from oncue.eval.streams.blind import every, silence
from oncue.eval.streams.ratios import f1_of, pooled_terms, ratio, ungraded
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent
from oncue.fields import IdText, NonEmptyText, Seconds, Span, field_as, field_or, has_value
from oncue.json_files import json_rows
from oncue.scoring.grader import GradeKey, Grader, Rubric
from oncue.scoring.score import Unscored
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

SIGNAL = "Now."
GROUNDING = "grounding"
CONTENT = Rubric(
    "streampro",
    0,
    10,
    "Someone watches a video and has asked an assistant to speak at certain moments. Compare what "
    "it said with what was due. 10: all of it, correctly. 5: half of it, or with a clear mistake. "
    "0: nothing of it, or something else.",
)
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

CARD = Card(
    name="streampro",
    title="StreamPro-Bench (F1 by the paper's text; no code was released)",
    measures="whether replies with the right content come in time, in seven kinds of task",
    data="no release found (577 videos, 1,285 questions); rows in a form of our own are read",
    licence="none stated",
    source="StreamPro (arXiv 2605.16381), by its text: our reading, not compared with any scorer",
    defects=(
        "No code was released, so these numbers cannot be compared with published ones.",
        "Not in the text, so chosen here: content is graded from 0 to 10; F1 is the mean over "
        "questions (the pooled one is given, too); a span is read from the first two numbers of a "
        "reply.",
        "Further replies in a window lower precision even if they are right.",
    ),
    published=tuple(
        Published(who, {"F1": f1}, "the authors' scorer, judge not stated here", "StreamPro paper")
        for who, f1 in (("StreamPro-4B", 41.5), ("Streamo", 10.4), ("MMDuet2", 5.9))
    ),
)


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


@dataclass(frozen=True, slots=True)
class StreamPro:
    """How StreamPro-Bench is scored, by the text of its paper."""

    grading: Literal["judge", "none"] = "judge"
    """Who grades content. judge: --judge; stretches of video are compared without one. none: every
    content is right, so that timing alone counts."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"F1": "f1", "pooled F1": "pooled_f1", "pooled precision": "pooled_precision"}
        names |= {"pooled recall": "pooled_recall"}
        return tuple(Headline(name, ("overall", key)) for name, key in names.items())

    @property
    def needs_grader(self) -> bool:
        return self.grading == "judge"

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        return [
            _item_of(row, where)
            for path in annotations
            for where, row in json_rows(path, _EXPECTED)
        ]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        raise ConfigError(
            f"{path}: streampro has no official output format; give JSON lines {{question_id, "
            "replies}} and leave --format out"
        )

    async def score(self, item: Item[Gold], said: Prediction, grader: Grader | None) -> ItemScore:
        timing, due = TIMINGS[item.gold.task], item.gold.due
        best, num_unscored, marks = [0.0] * len(due), 0, []
        for reply in sorted(said.replies, key=lambda r: r.time_s):
            number = next(
                (n for n, d in enumerate(due) if reply.time_s in _window(d, timing)), None
            )
            if number is None:
                marks.append(Mark(reply, "in no window"))
                continue
            content = await self._content(item, number, reply, grader)
            if isinstance(content, Unscored):
                num_unscored += 1
                marks.append(Mark(reply, "unscored"))
                continue
            earned = timeliness(reply.time_s, due[number].span, timing) * content
            best[number] = max(best[number], earned)
            marks.append(Mark(reply, f"earned {earned:.2f}"))
        terms = {
            "n": 1.0,
            "sum_s": sum(best),
            "num_due": float(len(due)),
            "num_replies": float(len(said.replies)),
            "num_unscored": float(num_unscored),
        }
        f1 = _f1(terms)
        return ItemScore({**terms, "f1": f1}, tuple(marks), f1)

    def figures(self, sums: BySubset) -> Figures:
        return {
            "overall": _figures_of(pooled_terms(sums)),
            "subsets": {task: _figures_of(sums[task]) for task in TIMINGS if task in sums},
        }

    def remarks(self, figures: Figures) -> list[str]:
        """How many replies could not be graded."""
        return ungraded(figures["overall"].get("num_unscored", 0))

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        judged = self.needs_grader
        rows = (every(step_s, SIGNAL, needs_grader=judged) for step_s in (1.0, 5.0))
        return (silence(), *rows)

    async def _content(
        self, item: Item[Gold], number: int, reply: TimedReply, grader: Grader | None
    ) -> float | Unscored:
        """How right a reply is, 0 to 1."""
        due = item.gold.due[number]
        if grader is None:
            return 1.0
        if due.stretch is not None:
            return overlap_of(due.stretch, reply.text)
        key = GradeKey(item.stream.item_id, number, reply.time_s)
        asked = item.stream.questions[0].text
        grade = await grader.grade(CONTENT, key, asked, due.content, reply.text)
        return grade if isinstance(grade, Unscored) else grade / CONTENT.highest


def _window(due: Due, timing: Timing) -> TimeSpan:
    return TimeSpan(due.span.start_s - timing.before_s, due.span.end_s + timing.after_s)


def timeliness(time_s: float, span: TimeSpan, timing: Timing) -> float:
    """The timing of a reply in the window of `span`: 1 in the span, less by distance from it."""
    early_s, late_s = span.start_s - time_s, time_s - span.end_s
    if early_s > 0:
        return max(0.0, 1 - early_s / timing.early_tau_s)
    return max(0.0, 1 - late_s / timing.late_tau_s) if late_s > 0 else 1.0


def overlap_of(stretch: TimeSpan, text: str) -> float:
    """Intersection over union of `stretch` and the first two numbers of a reply, in seconds; 0
    where it has not two."""
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)[:2]]
    if len(numbers) < 2:
        return 0.0
    start_s, end_s = sorted(numbers)
    both = min(end_s, stretch.end_s) - max(start_s, stretch.start_s)
    either = max(end_s, stretch.end_s) - min(start_s, stretch.start_s)
    return ratio(max(0.0, both), either)


def _f1(terms: Terms) -> float:
    precision = ratio(terms["sum_s"], terms["num_replies"])
    return f1_of(precision, ratio(terms["sum_s"], terms["num_due"]))


def _figures_of(terms: Terms) -> Figures:
    if not terms.get("n"):
        return {"n": 0, "f1": None}
    return {
        "n": round(terms["n"]),
        "f1": percent(terms["f1"] / terms["n"]),
        "pooled_f1": percent(_f1(terms)),
        "pooled_precision": percent(ratio(terms["sum_s"], terms["num_replies"])),
        "pooled_recall": percent(ratio(terms["sum_s"], terms["num_due"])),
        **{name: round(terms[name]) for name in ("num_due", "num_replies", "num_unscored")},
    }


def _item_of(row: Mapping[str, Any], where: str) -> Item[Gold]:
    task, question = (
        field_as(NonEmptyText, row, "task", where),
        field_as(NonEmptyText, row, "question", where),
    )
    if task not in TIMINGS:
        raise DataError(f"{where}: unknown task {task!r}; expected one of {', '.join(TIMINGS)}")
    due = sorted(
        (
            _due_of(answer, task, f"{where}, answer {number}")
            for number, answer in enumerate(field_as(list[Any], row, "answers", where), 1)
        ),
        key=lambda d: d.span.start_s,
    )
    timing = TIMINGS[task]
    asked, length = ("question_time", "duration")
    asked_s = field_as(Seconds, row, asked, where) if has_value(row, asked) else 0.0
    shown = (
        TimeSpan(max(0.0, _window(d, timing).start_s), max(0.0, _window(d, timing).end_s))
        for d in due
    )
    stream = Stream(
        field_as(IdText, row, "id", where),
        field_as(IdText, row, "video", where),
        (Question(question, asked_s),),
        tuple(
            GoldTurn(d.content, span, question, visible_s=d.span.start_s)
            for d, span in zip(due, shown, strict=True)
        ),
        duration_s=field_as(Seconds, row, length, where) if has_value(row, length) else None,
        subset=task,
    )
    return Item(stream, Gold(task, tuple(due)))


def _due_of(row: Any, task: str, where: str) -> Due:
    """Of grounding, the end of the `span` that is to be named is when the answer is due."""
    if task == GROUNDING:
        stretch = field_as(Span, row, "span", where)
        at_end = TimeSpan(stretch.end_s, stretch.end_s)
        return Due(at_end, field_or(str, row, "content", where, ""), stretch)
    if isinstance(field_as(Any, row, "time", where), list):
        span = field_as(Span, row, "time", where)
    else:
        time_s = field_as(Seconds, row, "time", where)
        span = TimeSpan(time_s, time_s)
    return Due(span, field_as(NonEmptyText, row, "content", where))
