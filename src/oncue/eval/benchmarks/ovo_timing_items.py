"""The items of OVO-Timing: the forward rows of OVO-Bench, with what is asked, and when replies are
due."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.benchmarks.ovo_rows import FORWARD, annotation_rows, probes_of, row_id, task_of
from oncue.eval.streams.stream import Item, Stream
from oncue.fields import NonEmptyText, Seconds, field_as, read_as
from oncue.types import GoldTurn, Question, TimeSpan

TOLERANCE_S = 2.0
AFTER_START_S = 2.0  # a repetition (REC) or step (SSR) is due so long after its start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crr:
    question: NonEmptyText
    ask_time: Seconds
    clue_time: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rec:
    activity: NonEmptyText
    start_times: tuple[Seconds, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ssr:
    tutorial: NonEmptyText
    start_time: tuple[Seconds, ...]


def read_items(annotations: Sequence[Path]) -> Sequence[Item[tuple[float, ...]]]:
    """The forward rows of all files. Raises DataError."""
    return [_item_of(row, where) for where, row in annotation_rows(annotations, FORWARD)]


def _item_of(row: Any, where: str) -> Item[tuple[float, ...]]:
    task = task_of(row, where)
    *_, (_, place, last) = probes_of(row, where)
    asked, start_s, gold = _asked_of(task, row, where)
    if not gold:
        raise DataError(f"{where}: the row has no start of an event; expected at least one")
    due = tuple(
        GoldTurn(asked, TimeSpan(max(0.0, t - TOLERANCE_S), t + TOLERANCE_S), asked, visible_s=t)
        for t in gold
    )
    stream = Stream(
        row_id(row, where),
        field_as(NonEmptyText, row, "video", where),
        (Question(asked, start_s),),
        due,
        start_s,
        field_as(Seconds, last, "realtime", place),
        None,
        task,
    )
    return Item(stream, gold)


def _asked_of(task: str, row: Any, where: str) -> tuple[str, float, tuple[float, ...]]:
    """What is asked, in our words, from when on, and when replies are due; CRR brings its own
    question."""
    if task == "CRR":
        crr = read_as(_Crr, row, where)
        return crr.question, crr.ask_time, (crr.clue_time,)
    if task == "REC":
        rec = read_as(_Rec, row, where)
        asked, starts = f"Tell me each time that this happens: {rec.activity}.", rec.start_times
    else:
        ssr = read_as(_Ssr, row, where)
        words = re.sub(r"(?<!^)(?=[A-Z])", " ", ssr.tutorial).lower()
        asked = f"Describe each step of this tutorial when it is done: {words}."
        starts = ssr.start_time
    return asked, 0.0, tuple(time_s + AFTER_START_S for time_s in starts)
