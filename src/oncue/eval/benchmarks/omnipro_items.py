"""The files of OmniPro: samples with their triggers, and what a reply must hold to be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.streams.stream import Item, Stream
from oncue.fields import IdText, NonEmptyText, Seconds, field_as, field_or, has_value
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


def _item_of(row: Mapping[str, Any], where: str, tolerance_s: float) -> Item[Gold]:
    task, question = (
        field_as(NonEmptyText, row, "task", where),
        field_as(NonEmptyText, row, "question", where),
    )
    if task not in TASKS:
        raise DataError(f"{where}: unknown task {task!r}; expected one of {', '.join(TASKS)}")
    asked_s = _time_of(row, "question_time", where)
    duration_s = field_as(Seconds, row, "duration", where)
    triggers = tuple(
        _trigger_of(one, f"{where}, trigger {number}")
        for number, one in enumerate(field_as(list[Any], row, "ground_truth", where), 1)
    )
    states = field_as(list[Any], row, "states", where) if has_value(row, "states") else []
    start_s = float(round(asked_s))
    video = next((n for n in ("video_path", "video_id") if has_value(row, n)), "video_path")
    due = tuple(
        GoldTurn(
            t.response or t.state or t.position or str(t.count or ""),
            TimeSpan(max(0.0, t.time_s - tolerance_s), t.time_s + tolerance_s),
            question,
            visible_s=t.time_s,
        )
        for t in triggers
    )
    stream = Stream(
        field_as(IdText, row, "id", where),
        field_as(IdText, row, video, where),
        (Question(question, asked_s),),
        due,
        start_s,
        max(start_s, float(round(duration_s))),
        duration_s,
        task,
    )
    return Item(stream, Gold(task, triggers, tuple(map(str, states))))


def _trigger_of(row: Any, where: str) -> Trigger:
    exact = "trigger_time_sec"
    time_s = (
        field_as(Seconds, row, exact, where)
        if has_value(row, exact)
        else _time_of(row, "trigger_time", where)
    )
    count = row.get("count")
    if isinstance(count, str) and count.strip().isdecimal():
        count = int(count)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise DataError(f"{where}: 'count' must be a whole number, got {count!r:.80}")
    state = "state_to" if has_value(row, "state_to") else "state"
    texts = (
        field_or(str, row, name, where, "")
        for name in ("response", "position", "state_from", state)
    )
    response, position, before, after = texts
    return Trigger(time_s, response, count, position, before, after)


def _time_of(row: Any, name: str, where: str) -> float:
    """Seconds, or a clock such as 01:23 or 1:01:23."""
    value = field_as(Any, row, name, where)
    if not isinstance(value, str):
        return field_as(Seconds, row, name, where)
    parts = value.split(":")
    if not (2 <= len(parts) <= 3 and all(part.isdecimal() for part in parts)):
        raise DataError(f"{where}: {name!r} must be MM:SS, H:MM:SS or seconds, got {value!r:.80}")
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(seconds)


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
