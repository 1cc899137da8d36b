"""ESTP-Bench, timing alone: was something said when an answer was due (Eyes Wide Open).

Annotations: {video: {clip: [row]}}. A row is {"clip_start_time", "clip_end_time", "Task Type",
"question", "conversation": [{"role", "content", "start_time", "end_time"}]}, in seconds of the
video; a row of the clip "goalstep" names its ends "start_time" and "end_time", and its question is
the first turn of the user.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

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
from oncue.eval.streams.blind import every, once_after, silence
from oncue.eval.streams.ratios import f1_of, pooled_terms, ratio
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent
from oncue.eval.timing import count_timing
from oncue.fields import NonEmptyText, Seconds, field_as, field_or, first_filled, has_value, read_as
from oncue.json_files import json_object_in
from oncue.scoring.grader import Grader
from oncue.types import GoldTurn, Question, TimeSpan

_Clips = dict[str, tuple[Any, ...]]
Gold = tuple[TimeSpan, ...]  # the spans of the answers, on the grid of frames

ANTICIPATION_S = 1.0  # a reply may come this much before its span
LATENCY_S = 2.0  # and this much after it
GRID_FPS = 2  # both ends of a span are rounded up to frames at this rate
SIGNAL = "Now."
GOAL_STEP = "Task Understanding"  # the type of rows that name none
_EXPECTED = 'annotations of ESTP-Bench, {video: {clip: [{"conversation": [...]}]}}'

CARD = Card(
    name="estp",
    title="ESTP-Bench, timing F1",
    measures="whether a reply falls near each span in which an answer is due, and nowhere else; "
    "what it says plays no part",
    data="estp_bench_sq.json or estp_bench_cq_v3.json of zhangyl9/ESTP-Bench on ModelScope, and "
    "the videos of Ego4D",
    licence="none stated (annotations); the licence agreement of Ego4D (videos)",
    source="Eyes Wide Open; timing as its third-party ports count it, since the official scorer is "
    "on ModelScope alone and was not at hand",
    defects=(
        "The paper's F1 weighs each answer by its content, which this timing form leaves out.",
        "Ports disagree on precision: hits over hits and false replies, or hits over all replies. "
        "The second can exceed 1, since one reply may hit several spans.",
        "A reply counts for every span whose window holds it, and further replies in a hit window "
        "cost nothing under the first precision.",
    ),
    published=tuple(
        Published(who, {"F1": f1}, "paper's ESTP-F1, with content; not this timing form", source)
        for who, f1, source in (
            ("VideoLLM-EyeWO", 34.7, "Eyes Wide Open"),
            ("MiniCPM-V, polling", 22.9, "Eyes Wide Open"),
            ("MMDuet", 17.8, "Eyes Wide Open"),
            ("VideoLLM-online", 15.5, "Eyes Wide Open"),
            ("MMDuet2 on 5 items", 15.4, "a user's measurement"),
        )
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    task_type: Annotated[str | None, Field(alias="Task Type")] = None
    question: str | None = None
    conversation: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    content: NonEmptyText
    start_time: Seconds
    end_time: Seconds


@dataclass(frozen=True, slots=True)
class Estp:
    """How ESTP-Bench is scored. It needs no judge."""

    precision: Literal["spans", "replies"] = "spans"
    """What precision is a share of. spans: hit spans and replies outside of all. replies: all
    replies."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        pooled = ("precision", "recall")
        return (
            Headline("F1", ("overall", "f1")),
            *(Headline(f"pooled {name}", ("overall", f"pooled_{name}")) for name in pooled),
        )

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        return [
            _item_of(row, f"{path}, {name!r}, row {number + 1}", f"{name}/{number}", video)
            for path in annotations
            for video, clips in json_object_in(path, _EXPECTED).items()
            for clip, rows in read_as(_Clips, clips, f"{path}, {video!r}").items()
            for name in [f"{video}/{clip}"]
            for number, row in enumerate(rows)
        ]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        raise ConfigError(
            f"{path}: estp has no official output format; give JSON lines {{question_id, replies}} "
            "and leave --format out"
        )

    async def score(
        self,
        item: Item[Gold],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - timing alone
    ) -> ItemScore:
        count = count_timing(said.replies, item.gold, early_s=ANTICIPATION_S, late_s=LATENCY_S)
        terms = {
            "n": 1.0,
            "num_hit": float(count.num_hit),
            "num_false": float(count.num_false),
            "num_missed": float(count.num_missed),
            "num_replies": float(len(said.replies)),
        }
        f1 = f1_of(self._precision(terms), _recall(terms))
        windows = [_window(span) for span in item.gold]
        marks = tuple(
            Mark(r, "in time" if any(r.time_s in window for window in windows) else "in no span")
            for r in said.replies
        )
        return ItemScore({**terms, "f1": f1}, marks, f1)

    def figures(self, sums: BySubset) -> Figures:
        return {
            "overall": self._figures_of(pooled_terms(sums)),
            "subsets": {name: self._figures_of(terms) for name, terms in sorted(sums.items())},
        }

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        return silence(), once_after(0.0, SIGNAL), every(1.0, SIGNAL), every(5.0, SIGNAL)

    def _precision(self, terms: Terms) -> float:
        whole = terms["num_hit"] + terms["num_false"]
        return ratio(terms["num_hit"], whole if self.precision == "spans" else terms["num_replies"])

    def _figures_of(self, terms: Terms) -> Figures:
        if not terms.get("n"):
            return {"n": 0, "f1": None}
        precision, recall = self._precision(terms), _recall(terms)
        return {
            "n": round(terms["n"]),
            "f1": percent(terms["f1"] / terms["n"]),
            "pooled_precision": percent(precision),
            "pooled_recall": percent(recall),
            "pooled_f1": percent(f1_of(precision, recall)),
            **{name: round(terms[name]) for name in ("num_hit", "num_false", "num_missed")},
        }


def _recall(terms: Terms) -> float:
    return ratio(terms["num_hit"], terms["num_hit"] + terms["num_missed"])


def _window(span: TimeSpan) -> TimeSpan:
    return TimeSpan(max(0.0, span.start_s - ANTICIPATION_S), span.end_s + LATENCY_S)


def _item_of(value: Any, where: str, item_id: str, video: str) -> Item[Gold]:
    row = read_as(_Row, value, where)
    prefix = "clip_" if has_value(value, "clip_end_time") else ""
    start_s = field_as(Seconds, value, f"{prefix}start_time", where)
    end_s = field_as(Seconds, value, f"{prefix}end_time", where)
    if end_s < start_s:
        raise DataError(f"{where}: the clip ends at {end_s:g} s, before its start at {start_s:g} s")
    said: dict[str, list[tuple[Any, str]]] = {}
    for number, turn in enumerate(row.conversation, 1):
        at = f"{where}, turn {number}"
        role = field_as(NonEmptyText, turn, "role", at).lower()
        said.setdefault(role, []).append((turn, at))
    answers = [(read_as(_Answer, turn, at), at) for turn, at in said.get("assistant", ())]
    spans = tuple(_on_grid(answer, at, end_s) for answer, at in answers)
    due = tuple(
        GoldTurn(answer.content, _window(span), visible_s=span.start_s)
        for (answer, _), span in zip(answers, spans, strict=True)
    )
    asked = () if row.question else said.get("user", ())
    questions = [_question_of(turn, start_s, at) for turn, at in asked]
    stream = Stream(
        item_id,
        video,
        (Question(row.question, start_s),) if row.question else tuple(questions),
        due,
        start_s,
        end_s,
        subset=(row.task_type or GOAL_STEP).strip(),
    )
    return Item(stream, spans)


def _question_of(turn: Any, start_s: float, where: str) -> Question:
    """What a user says, from the start where it has no time."""
    text = field_as(NonEmptyText, turn, "content", where)
    named = first_filled(turn, "start_time", "time")
    return Question(text, field_or(Seconds, turn, named, where, start_s))


def _on_grid(answer: _Answer, where: str, clip_end_s: float) -> TimeSpan:
    """The span of an answer: both ends rounded up to frames, and not after the end of the clip."""
    start_s, end_s = answer.start_time, answer.end_time
    if end_s < start_s:
        raise DataError(f"{where}: it ends at {end_s:g} s, before its start at {start_s:g} s")
    up = [min(math.ceil(time_s * GRID_FPS) / GRID_FPS, clip_end_s) for time_s in (start_s, end_s)]
    return TimeSpan(*up)
