"""Proactive dialogues as data: what is asked about a video, which replies are due when, and where
all of it comes from (MMDuet2 section 3).

Times are seconds from the start of the part of the file that is used, so that they are those of the
clock that a model is shown. As JSON, one object per line:

    {"row_id", "video", "video_id", "part": [start_s, end_s] | null, "duration", "source",
     "kind": "web" | "ego" | "other", "dialogue": "1QnA" | "nQnA",
     "questions": [{"text", "time_s"}],
     "gold": [{"question", "content", "reply_timespan": [a, b], "visible_s"?}],
     "scenes": [{"span": [a, b], "caption", "subtitle"}],
     "provenance": {"where", "steps": [{"step", "model", "prompt_version", "num_requests",
                    "tokens_in", "tokens_out", "cost"}]}}

`scenes` and `provenance.steps` may be empty, as in imported rows.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from oncue.data.source_videos import VideoKind
from oncue.fields import (
    Duration,
    Index,
    NonEmptyText,
    Seconds,
    VideoSpan,
    WideSpan,
    faults_in,
    read_as,
    rows_in,
)
from oncue.files import replacing
from oncue.types import GoldTurn, Question, Task, TimeSpan

EXPECTED = "a proactive dialogue, an object with row_id, video, questions and gold"


class DialogueKind(enum.StrEnum):
    """One question at the start with many answers, or several questions at any time (section 3)."""

    ONE_QUESTION = "1QnA"
    MANY_QUESTIONS = "nQnA"


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch of a video with its detailed caption, and what is said in it."""

    span: TimeSpan
    caption: str
    subtitle: str = ""


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one step of the pipeline took for one row: the model that was asked, with which version
    of the prompt, how often, tokens read and written, and money in the currency of the prices that
    were given (0.0 without prices)."""

    step: str
    model: str
    prompt_version: str
    num_requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a row comes from: the file and row of its source, and the steps that made it."""

    where: str = ""
    steps: tuple[StepCost, ...] = ()


@dataclass(frozen=True, slots=True)
class ProactiveRow:
    """One dialogue about one video. `task` has its name, its questions, the replies that are due,
    and the duration. `video`, `video_id`, `part`, `source`: as of `SourceVideo`."""

    task: Task
    video: str
    video_id: str
    source: str
    kind: VideoKind
    dialogue: DialogueKind
    part: TimeSpan | None = None
    scenes: tuple[Scene, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def row_id(self) -> str:
        return self.task.task_id

    def plain(self) -> dict[str, Any]:
        """The object of its JSON line."""
        task = self.task
        return {
            "row_id": self.row_id,
            "video": self.video,
            "video_id": self.video_id,
            "part": _pair(self.part) if self.part is not None else None,
            "duration": task.duration_s,
            "source": self.source,
            "kind": self.kind.value,
            "dialogue": self.dialogue.value,
            "questions": [{"text": q.text, "time_s": q.time_s} for q in task.questions],
            "gold": [_plain_gold(gold) for gold in task.gold],
            "scenes": [
                {"span": _pair(s.span), "caption": s.caption, "subtitle": s.subtitle}
                for s in self.scenes
            ],
            "provenance": {
                "where": self.provenance.where,
                "steps": [
                    {name: getattr(step, name) for name in StepCost.__slots__}
                    for step in self.provenance.steps
                ],
            },
        }


def read_proactive_row(value: Any, where: str) -> ProactiveRow:
    """The row of a JSON object. Raises DataError, with `where` and the field, for another form."""
    return _row(read_as(_Row, value, where))


def form_faults(value: Any, where: str) -> list[tuple[str, str]]:
    """All that keeps a JSON object from being a row, as `oncue.fields.faults_in`."""
    return faults_in(_Row, value, where)


def read_proactive_rows(path: Path) -> Iterator[tuple[str, ProactiveRow]]:
    """The rows of a file of JSON lines, each with its place, read one by one. Raises DataError as
    `read_proactive_row`."""
    return ((where, _row(row)) for where, row in rows_in(path, _Row, EXPECTED))


def write_proactive_rows(path: Path, rows: Iterable[ProactiveRow]) -> int:
    """Writes JSON lines in one step; gives the number of rows."""
    number = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row.plain(), ensure_ascii=False, allow_nan=False) + "\n")
            number += 1
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    text: NonEmptyText
    time_s: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gold:
    content: NonEmptyText
    reply_timespan: WideSpan
    question: str = ""
    visible_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    span: VideoSpan
    caption: str
    subtitle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    step: NonEmptyText
    model: str
    prompt_version: str
    num_requests: Index = 0
    tokens_in: Index = 0
    tokens_out: Index = 0
    cost: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provenance:
    where: str = ""
    steps: tuple[_Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    row_id: NonEmptyText
    video: NonEmptyText
    video_id: NonEmptyText
    source: str
    kind: VideoKind
    dialogue: DialogueKind
    questions: Annotated[tuple[_Question, ...], Field(min_length=1)]
    gold: tuple[_Gold, ...]
    duration: Duration | None = None
    part: VideoSpan | None = None
    scenes: tuple[_Scene, ...] = ()
    provenance: _Provenance = _Provenance()


def _row(line: _Row) -> ProactiveRow:
    task = Task(
        line.row_id,
        tuple(Question(q.text, q.time_s) for q in line.questions),
        tuple(GoldTurn(g.content, g.reply_timespan, g.question, g.visible_s) for g in line.gold),
        line.duration,
    )
    steps = (
        StepCost(**{name: getattr(step, name) for name in StepCost.__slots__})
        for step in line.provenance.steps
    )
    return ProactiveRow(
        task,
        line.video,
        line.video_id,
        line.source,
        line.kind,
        line.dialogue,
        line.part,
        tuple(Scene(s.span, s.caption, s.subtitle) for s in line.scenes),
        Provenance(line.provenance.where, tuple(steps)),
    )


def _plain_gold(gold: GoldTurn) -> dict[str, Any]:
    plain = {
        "question": gold.question,
        "content": gold.content,
        "reply_timespan": _pair(gold.span),
    }
    return plain if gold.visible_s is None else {**plain, "visible_s": gold.visible_s}


def _pair(span: TimeSpan) -> list[float]:
    return [span.start_s, span.end_s]
