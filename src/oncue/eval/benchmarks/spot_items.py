"""The files of SPOT-Bench: one JSON object per task, {video: {"turns": [...]}}, and the slots in
which replies are due. The name of a file begins with its task (abd.json, pnr_MODEL.json)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from oncue.errors import DataError
from oncue.eval.benchmarks.spot_meaning import (
    BOUNDARY,
    KEYWORD_TASKS,
    POINT,
    is_silent,
    mentions_end,
    mentions_start,
)
from oncue.eval.streams.official import files_of
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.fields import Must, Seconds, field_or, read_as
from oncue.json_files import json_object_in
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

_VIDEO_ENDING = re.compile(r"\.(mp4|mkv|webm|avi|mov)$", re.IGNORECASE)
_EXPECTED = 'annotations of SPOT-Bench, {video: {"turns": [{"question", "response_time"}]}}'
_EXPECTED_RESULTS = 'results of SPOT-Bench, {video: [{"time", "type", "value"}]}'


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    question: str | None = None
    ask_time: Seconds | None = None
    type: Any = None
    response_time: Annotated[tuple[Seconds, ...], BeforeValidator(_listed)] = ()
    response: Annotated[tuple[Any, ...], BeforeValidator(_listed)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    time: Seconds
    type: Annotated[Literal["question", "response"], Must("question or response")]
    value: Any = None
    turn_id: Any = None


@dataclass(frozen=True, slots=True)
class Timing:
    """When a reply to something due at t is timely: fully within `offset_s` of it, less and less
    outside, as a Gaussian with these deviations."""

    offset_s: float
    early_s: float
    late_s: float


TIMINGS = {
    BOUNDARY: Timing(1.0, 1.48, 0.74),
    POINT: Timing(0.5, 0.74, 0.37),
    "SQA": Timing(1.0, 1.48, 0.74),
    "SPG": Timing(1.5, 2.22, 1.11),
    "SI": Timing(1.5, 2.22, 1.11),
    "UI": Timing(0.5, 0.74, 0.37),
}
TASKS = tuple(TIMINGS)


@dataclass(frozen=True, slots=True)
class Slot:
    """What is due, when, and to which question."""

    time_s: float
    text: str
    question: str


@dataclass(frozen=True, slots=True)
class Gold:
    """The slots of a video in time order. `has_gold`: of each question, whether anything is due to
    it."""

    task: str
    slots: tuple[Slot, ...]
    has_gold: tuple[bool, ...]


def read_items(annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
    """The videos of all tasks; their ids are TASK/video, without the ending of the video."""
    return [
        item
        for given in annotations
        for path in files_of(given, "*.json")
        for item in _items_of(path)
    ]


def _items_of(path: Path) -> list[Item[Gold]]:
    task = _task_of(path)
    items = [
        _item_of(task, video, entry, f"{path}, {video!r}")
        for video, entry in json_object_in(path, _EXPECTED).items()
    ]
    if not any(item.gold.slots for item in items):
        raise DataError(f"{path}: nothing is due in it; expected {_EXPECTED}")
    return items


def read_results(path: Path) -> Sequence[tuple[str, Prediction]]:
    """A result file, or those of a folder that are named after a task."""
    files = files_of(path, "*.json")
    if path.is_dir():
        files = [f for f in files if _named(f) in TASKS and not f.name.endswith(".temp.json")]
        if not files:
            raise DataError(f"{path} holds no result file; they are named such as abd_MODEL.json")
    return [
        (f"{file}, {video!r}", _prediction_of(_item_id(task, video), events, f"{file}, {video!r}"))
        for file in files
        for task in [_task_of(file)]
        for video, events in json_object_in(file, _EXPECTED_RESULTS).items()
    ]


def _named(path: Path) -> str:
    return re.split(r"[_.]", path.name)[0].upper()


def _task_of(path: Path) -> str:
    if _named(path) not in TASKS:
        raise DataError(
            f"{path}: the name of the file must begin with its task, one of "
            f"{', '.join(task.lower() for task in TASKS)}"
        )
    return _named(path)


def _item_id(task: str, video: str) -> str:
    return f"{task}/{_VIDEO_ENDING.sub('', video)}"


def _item_of(task: str, video: str, entry: Any, where: str) -> Item[Gold]:
    """An entry without turns is one turn itself. To what is no object, nothing is due."""
    turns = field_or(tuple[Any, ...], entry, "turns", where, ()) or (entry,)
    questions, slots, has_gold = [], [], []
    for number, given in enumerate(turns, 1):
        at = f"{where}, turn {number}"
        turn = read_as(_Turn, given if isinstance(given, Mapping) else {}, at)
        due = _slots_of(task, turn, at)
        questions.append(Question(turn.question or "", turn.ask_time or 0.0))
        has_gold.append(bool(due))
        slots += due
    slots.sort(key=lambda slot: slot.time_s)
    offset_s = TIMINGS[task].offset_s
    spans = (TimeSpan(max(0.0, s.time_s - offset_s), s.time_s + offset_s) for s in slots)
    stream = Stream(
        _item_id(task, video),
        video,
        tuple(questions),
        tuple(
            GoldTurn(slot.text, span, slot.question, visible_s=slot.time_s)
            for slot, span in zip(slots, spans, strict=True)
        ),
        subset=task,
    )
    return Item(stream, Gold(task, tuple(slots), tuple(has_gold)))


def _slots_of(task: str, turn: _Turn, where: str) -> list[Slot]:
    question, times = turn.question or "", turn.response_time
    if not times:
        return []
    texts = [str(text) for text in turn.response]
    if task in KEYWORD_TASKS:
        texts = _detections(task, question, turn.type, texts, len(times))
    if len(times) != len(texts):
        raise DataError(
            f"{where}: {len(times)} times in 'response_time' need as many texts in 'response', "
            f"got {len(texts)}"
        )
    return [Slot(time_s, text, question) for time_s, text in zip(times, texts, strict=True)]


def _detections(task: str, question: str, kind: Any, texts: list[str], num: int) -> list[str]:
    """What is due at each of `num` times: as written, else by the type of the turn, else by its
    question. Too few are repeated, too many cut."""
    if not texts:
        named = [part.strip().lower() for part in str(kind or "").split("|") if part.strip()]
        starts, ends = mentions_start(question), mentions_end(question)
        if task == POINT:
            texts = ["now"]
        elif named:
            texts = named
        elif num == 2 and starts and ends:
            texts = ["start", "end"]
        else:
            texts = ["end" if num == 1 and ends and not starts else "start"]
    return (texts + [texts[-1]] * num)[:num]


def replies_with_gold(item: Item[Gold], said: Prediction) -> list[TimedReply]:
    """The replies in time order, without silent ones and without those to a question to which
    nothing is due."""
    answers = said.answers or (None,) * len(said.replies)
    return sorted(
        (
            reply
            for reply, answered in zip(said.replies, answers, strict=True)
            if not is_silent(reply.text)
            and item.gold.has_gold[_turn_of(item.stream.questions, reply, answered)]
        ),
        key=lambda reply: reply.time_s,
    )


def _turn_of(questions: Sequence[Question], reply: TimedReply, answered: Question | None) -> int:
    """The number of the question that a reply answers: the one it names, else the newest asked."""
    if answered is not None:
        same = answered.text.strip().lower()
        named = [n for n, q in enumerate(questions) if same and q.text.strip().lower() == same]
        return min(
            named or range(len(questions)),
            key=lambda n: abs(questions[n].time_s - answered.time_s),
        )
    asked = [n for n, q in enumerate(questions) if q.time_s <= reply.time_s]
    return max(asked, key=lambda n: questions[n].time_s, default=0)


def _prediction_of(item_id: str, events: Any, where: str) -> Prediction:
    """Responses in time order, each with the question whose `turn_id` it has."""
    if not isinstance(events, list):
        raise DataError(f"{where} holds {events!r:.60}; expected a list of events")
    read = [read_as(_Event, event, f"{where}, event {n}") for n, event in enumerate(events, 1)]
    asked: dict[str, Question] = {}
    replies, answers = [], []
    for event in sorted(read, key=lambda event: event.time):
        text, turn = str(event.value or ""), str(event.turn_id or "").strip().upper()
        if event.type == "question":
            asked.setdefault(turn, Question(text, event.time))
        else:
            replies.append(TimedReply(event.time, text))
            answers.append(asked.get(turn) if turn else None)
    return Prediction(item_id, tuple(replies), answers=tuple(answers))


def by_task(sums: Mapping[str, Any]) -> list[str]:
    """The tasks of `sums` in the order of the benchmark."""
    return [task for task in TASKS if task in sums]
