"""The files of OmniPro: samples with their triggers, and what a reply must hold to be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from oncue.errors import DataError
from oncue.eval.streams.stream import Item, Stream
from oncue.fields import (
    IdText,
    Must,
    NonEmptyText,
    Seconds,
    field_as,
    field_or,
    first_filled,
    read_as,
)
from oncue.json_files import json_rows
from oncue.types import GoldTurn, Question, TimeSpan

ALERTS = ("instant_event_alert", "semantic_condition_alert")
GROUNDING = "explicit_target_grounding"
SNAPSHOT = "snapshot_counting"
COUNTS_SO_FAR = ("cumulative_counting", "dedup_counting")
STATE = "realtime_state_monitor"
JUDGED = ("event_narration", "sequential_step_instruction")
TASKS = (*ALERTS, GROUNDING, SNAPSHOT, *COUNTS_SO_FAR, STATE, *JUDGED)
REGIONS = (
    *("top-center", "top-right", "top-left", "center-right", "center-left"),
    *("bottom-center", "bottom-right", "bottom-left", "center"),
)
_CLOCK = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b")
_EXPECTED = 'samples of OmniPro, [{"id", "task", "duration", "question", "ground_truth"}]'


def _from_clock(value: Any) -> Any:
    """Seconds of a clock such as 01:23 or 1:01:23; any other value as it is."""
    parts = value.split(":") if isinstance(value, str) else []
    if not (2 <= len(parts) <= 3 and all(part.isdecimal() for part in parts)):
        return value
    return sum(int(part) * 60**place for place, part in enumerate(reversed(parts)))


def _from_digits(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


_Clock = Annotated[Seconds, BeforeValidator(_from_clock), Must("MM:SS, H:MM:SS or seconds")]
_Count = Annotated[int, BeforeValidator(_from_digits), Must("a whole number")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: IdText
    task: NonEmptyText
    question: NonEmptyText
    question_time: _Clock
    duration: Seconds
    ground_truth: tuple[Any, ...]
    states: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trigger:
    response: str | None = None
    count: _Count | None = None
    position: str | None = None
    state_from: str | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """When something is due, and what: a `response` to be judged, or what the task asks for."""

    time_s: float
    response: str = ""
    count: int | None = None
    position: str = ""
    state_from: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Gold:
    """The task of a sample, its triggers in the order given, and the states there are."""

    task: str
    triggers: tuple[Trigger, ...]
    states: tuple[str, ...] = ()

    def count_at(self, time_s: float) -> int | None:
        """The newest count by then; None before the first."""
        counted = [t for t in self.triggers if t.count is not None and t.time_s <= time_s + 1e-6]
        return max(counted, key=lambda t: t.time_s).count if counted else None


def read_items(annotations: Sequence[Path], tolerance_s: float) -> Sequence[Item[Gold]]:
    """The samples of all files. `tolerance_s`: how far around its time a trigger is shown as
    due."""
    return [
        _item_of(row, where, tolerance_s)
        for path in annotations
        for where, row in json_rows(path, _EXPECTED)
    ]


def _item_of(value: Mapping[str, Any], where: str, tolerance_s: float) -> Item[Gold]:
    row = read_as(_Row, value, where)
    if row.task not in TASKS:
        raise DataError(f"{where}: unknown task {row.task!r}; expected one of {', '.join(TASKS)}")
    triggers = tuple(
        _trigger_of(one, f"{where}, trigger {number}")
        for number, one in enumerate(row.ground_truth, 1)
    )
    start_s = float(round(row.question_time))
    due = tuple(
        GoldTurn(
            t.response or t.state or t.position or str(t.count or ""),
            TimeSpan(max(0.0, t.time_s - tolerance_s), t.time_s + tolerance_s),
            row.question,
            visible_s=t.time_s,
        )
        for t in triggers
    )
    stream = Stream(
        row.id,
        field_as(IdText, value, first_filled(value, "video_path", "video_id"), where),
        (Question(row.question, row.question_time),),
        due,
        start_s,
        max(start_s, float(round(row.duration))),
        row.duration,
        row.task,
    )
    return Item(stream, Gold(row.task, triggers, tuple(map(str, row.states or ()))))


def _trigger_of(value: Any, where: str) -> Trigger:
    row = read_as(_Trigger, value, where)
    timed = first_filled(value, "trigger_time_sec", "trigger_time")
    return Trigger(
        field_as(Seconds if timed == "trigger_time_sec" else _Clock, value, timed, where),
        row.response or "",
        row.count,
        row.position or "",
        row.state_from or "",
        field_or(str, value, first_filled(value, "state_to", "state"), where, ""),
    )


def is_right(gold: Gold, trigger: Trigger, time_s: float, said: str) -> bool:
    """Whether a reply at `time_s` holds what the task asks for; always, where that is an alert
    alone. Not for replies that are judged."""
    if gold.task in ALERTS:
        return True
    if gold.task == GROUNDING:
        return bool(trigger.position) and region_in(said) == trigger.position.lower().strip()
    if gold.task == STATE:
        state = said.strip().strip("'\"").lower().strip()
        return bool(state) and state == trigger.state.lower().strip()
    wanted = trigger.count if gold.task == SNAPSHOT else gold.count_at(time_s)
    return wanted is not None and first_integer(said) == wanted


def first_integer(text: str) -> int | None:
    """The first whole number, clock times left out."""
    found = re.search(r"-?\d+", _CLOCK.sub(" ", text))
    return int(found[0]) if found else None


def region_in(text: str) -> str | None:
    """The region after "position:", or else the first of the longest names of regions in the
    text."""
    lower = text.lower()
    named = re.search(r"position\s*:\s*([\w\-]+)", lower)
    if named and named[1] in REGIONS:
        return named[1]
    return next(
        (region for region in sorted(REGIONS, key=len, reverse=True) if region in lower), None
    )
