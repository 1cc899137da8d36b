"""Recorded judgements of the replies to a benchmark, in JSON lines.

    {"judge"}                                                    first line, optional: who judged
    {"question_id", "answer_index", "time", "level"}             a level of the benchmark's scale
    {"question_id", "kind": "repetition", "answer_index"?, "time", "repeated"}       true or false

`answer_index` is the gold turn, from 0; `index` is another name of it, for benchmarks that have no
answers. `time` is that of the reply. A line on repetition without it holds for the reply in every
gold turn, and in the whole dialogue. What a judge could not decide has no line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oncue.errors import DataError
from oncue.fields import IdText, Index, Seconds, field_as, field_or, read_as

PREFIX = "replay:"
EXPECTED = (
    'a judgement, {"question_id", "answer_index", "time", "level"} or '
    '{"question_id", "kind": "repetition", "time", "repeated": true|false}'
)
JUDGE = "judge"

Place = tuple[int | None, float]  # gold turn and time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    question_id: IdText
    time: Seconds
    level: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repetition:
    question_id: IdText
    time: Seconds
    repeated: bool


@dataclass(frozen=True, slots=True)
class GradeLine:
    """A judgement: what it is about, and a level, or 0 or 1 for a verdict on repetition."""

    item_id: str
    place: Place
    value: int
    is_repetition: bool


def grade_line(row: Mapping[str, Any], where: str) -> GradeLine:
    """What a line says."""
    kind = row.get("kind", "coverage")
    if kind not in ("coverage", "repetition"):
        raise DataError(f"{where}: unknown kind {kind!r:.80}; expected {EXPECTED}")
    name = "index" if "answer_index" not in row and "index" in row else "answer_index"
    if kind == "repetition":
        said = read_as(_Repetition, row, where)
        index = field_or(Index, row, name, where, None)
        return GradeLine(said.question_id, (index, said.time), int(said.repeated), True)
    judged = read_as(_Level, row, where)
    place = (field_as(Index, row, name, where), judged.time)
    return GradeLine(judged.question_id, place, judged.level, False)


def grade_row(line: GradeLine) -> dict[str, Any]:
    """The object from which `grade_line` gives `line`."""
    index, time_s = line.place
    row: dict[str, Any] = {"question_id": line.item_id}
    if line.is_repetition:
        row["kind"] = "repetition"
    if index is not None:
        row["answer_index"] = index
    row["time"] = time_s
    if line.is_repetition:
        row["repeated"] = bool(line.value)
    else:
        row["level"] = line.value
    return row
