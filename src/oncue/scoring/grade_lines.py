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
from oncue.fields import IdText, Seconds, field_as, has_value

PREFIX = "replay:"
EXPECTED = (
    'a judgement, {"question_id", "answer_index", "time", "level"} or '
    '{"question_id", "kind": "repetition", "time", "repeated": true|false}'
)
JUDGE = "judge"

Place = tuple[int | None, float]  # gold turn and time


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
    is_repetition = kind == "repetition"
    item_id, time_s = (
        field_as(IdText, row, "question_id", where),
        field_as(Seconds, row, "time", where),
    )
    index = _index_of(row, where, optional=is_repetition)
    if not is_repetition:
        return GradeLine(item_id, (index, time_s), _whole(row, "level", where), False)
    repeated = field_as(Any, row, "repeated", where)
    if not isinstance(repeated, bool):
        raise DataError(f"{where}: 'repeated' must be true or false, got {repeated!r:.80}")
    return GradeLine(item_id, (index, time_s), int(repeated), True)


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


def _index_of(row: Mapping[str, Any], where: str, *, optional: bool) -> int | None:
    name = "index" if "answer_index" not in row and "index" in row else "answer_index"
    if optional and not has_value(row, name):
        return None
    return _whole(row, name, where)


def _whole(row: Mapping[str, Any], name: str, where: str) -> int:
    value = field_as(Any, row, name, where)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: {name!r} must be a whole number, 0 or more, got {value!r:.80}")
    return value
