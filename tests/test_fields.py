"""Rows declared as dataclasses: what is read, and the one line that is said of anything else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator

from oncue.errors import DataError
from oncue.fields import (
    Count,
    Duration,
    IdText,
    Index,
    Must,
    NonEmptyText,
    Seconds,
    Share,
    Span,
    VideoSpan,
    WideSpan,
    read_as,
    rows_in,
)
from oncue.types import TimeSpan

WHERE = "f.json, row 3"


def _even(number: int) -> int:
    if number % 2:
        raise ValueError(f"must be even, got {number}")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    time: Seconds
    said: bool = False

    def __post_init__(self) -> None:
        if self.time == 7:
            raise ValueError("seven is no time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: NonEmptyText
    row_id: IdText = "1"
    turns: tuple[Turn, ...] = ()
    replies: tuple[Turn, ...] = ()
    inner: Turn | None = None
    at: Seconds | None = None
    length: Duration = 1.0
    number: float = 0.0
    whole: int = 0
    text: str = ""
    colour: Annotated[str, Must('{"red"} or so')] = ""
    count: Count = 1
    pair: Annotated[Index, AfterValidator(_even)] = 0
    share: Share = 0.5
    span: Span | None = None
    wide: WideSpan | None = None
    spans: tuple[VideoSpan, ...] = ()
    kind: Literal["a", "b"] = "a"
    notes: tuple[str, ...] = ()
    sizes: dict[str, int] | None = None
    anything: Any = None


def read(**fields: Any) -> Row:
    return read_as(Row, {"name": "x", **fields}, WHERE)


def test_what_is_read() -> None:
    row = read(
        row_id=5, turns=[{"time": 1, "other": 2}], span=[-2, -1], spans=[[0, 2]], other={}, at=None
    )
    assert row == Row(
        name="x",
        row_id="5",
        turns=(Turn(time=1.0),),
        span=TimeSpan(-2, -1),
        spans=(TimeSpan(0, 2),),
    )
    assert type(row.turns[0].time) is float
    assert read(row_id=2.5, name=" \x1cx").row_id == "2.5"
    assert read(anything=[{"a": None}], sizes={"b": 2}).sizes == {"b": 2}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", ": 'name' must be non-empty text, got ''"),
        ("name", " \x1c\n", ": 'name' must be non-empty text, got ' \\x1c\\n'"),
        ("name", 5, ": 'name' must be non-empty text, got 5"),
        ("name", "a\ud800", ": 'name' holds half of a character ('\\ud800'), which is no text"),
        ("row_id", True, ": 'row_id' must be non-empty text, got True"),
        ("turns", None, ": 'turns' must be a list, got None"),
        ("turns", {}, ": 'turns' must be a list, got {}"),
        ("turns", [{"time": 1}, 5], ", turn 2: expected an object with named fields, got 5"),
        ("turns", [{"said": 1}], ", turn 1: field 'time' is missing; it has said"),
        ("turns", [{"time": 1, "said": 1}], ", turn 1: 'said' must be true or false, got 1"),
        ("turns", [{"time": 7}], ", turn 1: seven is no time"),
        ("replies", [{}], ", reply 1: field 'time' is missing; it has none"),
        ("inner", {}, ", inner: field 'time' is missing; it has none"),
        ("inner", {"time": 7}, ", inner: seven is no time"),
        ("at", True, ": 'at' must be a number of seconds, 0 or more, got True"),
        ("at", "3", ": 'at' must be a number of seconds, 0 or more, got '3'"),
        ("at", -0.1, ": 'at' must be a number of seconds, 0 or more, got -0.1"),
        ("at", 1e12, ": 'at' must be a number of seconds, 0 or more, got 1000000000000.0"),
        ("at", 10**90, f": 'at' must be a number of seconds, 0 or more, got 1{'0' * 79}"),
        ("at", float("nan"), ": 'at' must be a number of seconds, 0 or more, got nan"),
        ("length", 0, ": 'length' must be a number of seconds, more than 0, got 0"),
        ("number", float("inf"), ": 'number' must be a finite number, got inf"),
        ("number", False, ": 'number' must be a finite number, got False"),
        ("whole", 3.0, ": 'whole' must be a whole number, got 3.0"),
        ("whole", "3", ": 'whole' must be a whole number, got '3'"),
        ("text", None, ": 'text' must be text, got None"),
        ("text", "\udfff", ": 'text' holds half of a character ('\\udfff'), which is no text"),
        ("colour", 4, ": 'colour' must be {\"red\"} or so, got 4"),
        ("count", 0, ": 'count' must be a whole number, 1 or more, got 0"),
        ("pair", -1, ": 'pair' must be a whole number, 0 or more, got -1"),
        ("pair", 3, ": 'pair' must be even, got 3"),
        ("share", 1.01, ": 'share' must be a number from 0 to 1, got 1.01"),
        ("span", [1], ": 'span' must be [start, end] in seconds, got [1]"),
        ("span", [1, 2, 3], ": 'span' must be [start, end] in seconds, got [1, 2, 3]"),
        ("span", [1, True], ": 'span' must be [start, end] in seconds, got [1, True]"),
        ("span", [0, 1e12], ": 'span' must be [start, end] in seconds, got [0, 1000000000000.0]"),
        ("span", [2, 1.5], ": 'span' ends before it starts: [2, 1.5]"),
        ("wide", [1, 1], ": 'wide' has no width (1 s); widen or drop it"),
        ("spans", [[0, 1], [-1, 1]], ": 'spans' 2 must not begin before 0 s, got [-1, 1]"),
        ("kind", "c", ": 'kind' must be 'a' or 'b', got 'c'"),
        ("kind", [], ": 'kind' must be 'a' or 'b', got []"),
        ("notes", "a", ": 'notes' must be a list, got 'a'"),
        ("notes", ["a", None], ": 'notes' 2 must be text, got None"),
        ("sizes", [], ": 'sizes' must be an object with named fields, got []"),
        ("sizes", {"b": "2"}, ", sizes: 'b' must be a whole number, got '2'"),
    ],
)
def test_one_line_names_place_and_field(field: str, value: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(WHERE + said) + "$"):
        read(**{field: value})


@pytest.mark.parametrize("value", [5, None, "x", [], True])
def test_what_is_no_object(value: Any) -> None:
    with pytest.raises(DataError, match=f"^{WHERE}: expected an object with named fields, got "):
        read_as(Row, value, WHERE)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Row.__slots__, "time", "a\nb"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, derandomize=True)
@given(_JSON, st.sampled_from(Row.__slots__))
def test_any_json_is_a_row_or_one_short_line(value: Any, field: str) -> None:
    try:
        row = read(**{field: value})
    except DataError as error:
        (line,) = str(error).splitlines()
        assert line.startswith(WHERE)
        assert field.removesuffix("ies").removesuffix("s") in line
        assert len(line) < 250
    else:
        assert field == "anything" or not isinstance(value, bool)
        assert field == "anything" or json.loads(json.dumps(value)) == value  # NaN is refused
        assert value is None or getattr(row, field) is not None


def test_rows_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a"}\n\n' + json.dumps({"name": "b", "count": 0}))
    rows = rows_in(path, Row, "a row")
    assert next(rows) == (f"{path}, line 1", Row(name="a"))
    with pytest.raises(DataError, match=r"rows\.jsonl, line 3: 'count' must be"):
        next(rows)
    path.write_text("[]")
    with pytest.raises(DataError, match=r"line 1 holds \[\]; expected a row"):
        next(rows_in(path, Row, "a row"))
