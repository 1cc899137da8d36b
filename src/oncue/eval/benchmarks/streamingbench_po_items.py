"""The files of StreamingBench PO.

Annotations: a list of {"video_path", "questions": [{"question", "time_stamp", "ground_truth_time_-
stamp", "ground_truth_output"}]}, times as "HH:MM:SS". Official output: the same file, each question
with {MODEL: {"answered", "dialog_history": [{"role", "content", "time"}]}}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from oncue.eval.streams.stream import Item, Stream
from oncue.fields import Must, NonEmptyText, Seconds, WrittenAs, field_as, read_as
from oncue.json_files import json_rows
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

TOLERANCE_S = 2  # of the official score
AFTER_GOLD_S = 4  # the stream ends so long after the event
HISTORY = "dialog_history"
_EXPECTED = 'an entry of StreamingBench PO, {"video_path", "questions": [...]}'


@dataclass(frozen=True, slots=True)
class PoGold:
    """When the event happens, and what must be said then."""

    time_s: float
    output: str


def _of_clock(text: str) -> float:
    """Seconds of "HH:MM:SS", "MM:SS" or "SS"."""
    parts = reversed(text.split(":"))
    return float(sum(int(part) * 60**place for place, part in enumerate(parts)))


_Clock = Annotated[
    float,
    WrittenAs(Annotated[str, Field(pattern=r"^\d{1,9}(:\d{1,9}){0,2}$")], _of_clock),
    Must("a time as HH:MM:SS"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    question: NonEmptyText
    time_stamp: _Clock
    ground_truth_time_stamp: _Clock
    ground_truth_output: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn of the history of a `Result`."""

    role: Annotated[Literal["user", "assistant"], Must("user or assistant")]
    time: Seconds
    content: str | None = None

    def reply(self) -> TimedReply:
        return TimedReply(self.time, self.content or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a model said to a question, as its official output has it."""

    dialog_history: tuple[Turn, ...]
    answered: Any = None


def read_questions(path: Path) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(place, entry, question) of every question of a file. Raises DataError."""
    for where, entry in json_rows(path, _EXPECTED):
        questions = field_as(tuple[Any, ...], entry, "questions", where)
        for number, question in enumerate(questions, 1):
            place = f"{where}, question {number}"
            field_as(NonEmptyText, question, "question", place)
            yield place, entry, question


def item_of(entry: Mapping[str, Any], question: Mapping[str, Any], where: str) -> Item[PoGold]:
    """What is watched, and when what must be said. Raises DataError."""
    video: str = field_as(NonEmptyText, entry, "video_path", where)
    row = read_as(_Question, question, where)
    text, asked_s = row.question, row.time_stamp
    gold = PoGold(row.ground_truth_time_stamp, row.ground_truth_output)
    due = TimeSpan(max(0.0, gold.time_s - TOLERANCE_S), gold.time_s + TOLERANCE_S)
    stream = Stream(
        f"{PurePosixPath(video).name}@{asked_s:g}",
        video,
        (Question(text, asked_s),),
        (GoldTurn(gold.output, due, text, visible_s=gold.time_s),),
        start_s=asked_s,
        end_s=gold.time_s + AFTER_GOLD_S,
    )
    return Item(stream, gold)
