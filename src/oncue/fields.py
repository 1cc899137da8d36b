"""Reading JSON rows: a row is declared as a frozen dataclass. What breaks it is a DataError that
names the place, the field, what was expected and what was given.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class _Turn:
        time: Seconds
        text: str

    @dataclass(frozen=True, slots=True, kw_only=True)
    class _Row:
        episode_id: NonEmptyText
        turns: tuple[_Turn, ...]
        previous_replies: tuple[str, ...] = ()

    for where, row in rows_in(path, _Row, "a rollout, an object with episode_id and turns"):
        ...

A wrong time in the second turn reads "FILE, line 3, turn 2: 'time' must be a number of seconds, 0
or more, got '3'".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, SchemaValidator, core_schema

from oncue.errors import DataError
from oncue.json_files import json_lines
from oncue.types import TimeSpan

T = TypeVar("T")

_LONGEST_S = 1e12  # more seconds than any clock shows
_OBJECT = "an object with named fields"
_SCALARS = ("int", "float", "bool", "str")
_WORDS = {  # of what pydantic expects
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list that is not empty",
    "dict_type": _OBJECT,
}


@dataclass(frozen=True, slots=True)
class Must:
    """Put last among the annotations of a type: what a value must be, in the words of its message
    ("a number of seconds, 0 or more"). On a list or an object it takes the place of what is wrong
    with an item."""

    be: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="must", custom_error_message=self.be
        )


@dataclass(frozen=True, slots=True)
class WrittenAs:
    """How a value of another type is written: `Annotated[TimeSpan, WrittenAs(Pair, to_span)]` is
    read as a Pair, and becomes what `made` returns. What `made` says in a ValueError follows the
    name of the field."""

    kind: Any
    made: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            self.made, handler.generate_schema(self.kind)
        )


def _with_width(span: TimeSpan) -> TimeSpan:
    if span.duration_s <= 0:
        raise ValueError(f"has no width ({span.start_s:g} s); widen or drop it")
    return span


def _of_video(span: TimeSpan) -> TimeSpan:
    if span.start_s < 0:
        raise ValueError(f"must not begin before 0 s, got [{span.start_s:g}, {span.end_s:g}]")
    return span


def _span(pair: tuple[float, float]) -> TimeSpan:
    if pair[1] < pair[0]:
        raise ValueError(f"ends before it starts: [{pair[0]:g}, {pair[1]:g}]")
    return TimeSpan(*pair)


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, got {value!r:.80}")
    return value


def _number_as_text(value: Any) -> Any:
    return str(value) if type(value) in (int, float) else value


# What fields hold. Plain types are read as JSON has them: no text or truth value is a number, a
# float is finite, and an int has no decimal point; text has no half of a character.
_Time = Annotated[float, Field(gt=-_LONGEST_S, lt=_LONGEST_S)]
NonEmptyText = Annotated[str, Field(pattern=r"[^\s\x1c-\x1f]"), Must("non-empty text")]
AnyText = Annotated[Any, AfterValidator(_any_text)]  # also halves of characters: models say them
IdText = Annotated[NonEmptyText, BeforeValidator(_number_as_text)]  # files also have numbers
Seconds = Annotated[float, Field(ge=0, lt=_LONGEST_S), Must("a number of seconds, 0 or more")]
Duration = Annotated[float, Field(gt=0, lt=_LONGEST_S), Must("a number of seconds, more than 0")]
Index = Annotated[int, Field(ge=0), Must("a whole number, 0 or more")]
Count = Annotated[int, Field(ge=1), Must("a whole number, 1 or more")]
Share = Annotated[float, Field(ge=0, le=1), Must("a number from 0 to 1")]
Span = Annotated[  # written [start, end]
    TimeSpan,
    WrittenAs(Annotated[tuple[_Time, _Time], Must("[start, end] in seconds")], _span),
]
VideoSpan = Annotated[Span, AfterValidator(_of_video)]  # does not begin before 0 s
WideSpan = Annotated[Span, AfterValidator(_with_width)]  # is longer than 0 s


def read_as(kind: type[T], value: Any, where: str) -> T:
    """The row of type `kind`, a dataclass, that a JSON value holds.

    `where` names the place for the user ("gold.json, row 3"); it begins every message. A field
    without a default must be there; fields that `kind` lacks are ignored. Null is refused, unless
    the type has it: `Seconds | None = None`. Nothing is coerced, as the note above the types says.

    A field may be a type of this module, a plain type, a dataclass, a list (`tuple[X, ...]`), an
    object with any keys (`dict[str, X]`), a `Literal`, or `Any`. `Annotated[X, Must("a colour")]`
    sets the words of the message. A check of one field is `Annotated[X, AfterValidator(check)]` of
    pydantic; one of several fields is `__post_init__`. Both raise a ValueError whose text goes
    behind the name of the field, or behind the place. A check that needs more than the row comes
    after, and raises DataError with `where` itself.

    Raises DataError, one line about the first field that is wrong.
    """
    return _read(kind, value, where)


def field_as(kind: Any, row: Any, name: str, where: str) -> Any:
    """The field `name` of an object, for a name that is known only when reading; as `read_as`."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected {_OBJECT}, got {row!r:.80}")
    if name not in row:
        raise DataError(_missing(name, row, where))
    return _read(kind, row[name], where, name)


def field_or(kind: Any, row: Any, name: str, where: str, default: Any) -> Any:
    """`field_as`, or `default` where the field is missing or null."""
    return field_as(kind, row, name, where) if has_value(row, name) else default


def rows_in(path: Path, kind: type[T], expected: str) -> Iterator[tuple[str, T]]:
    """Each row of a JSON-lines file with its place, "FILE, line N", as `read_as`; empty lines are
    passed over. `expected` says what a line should hold. Raises DataError, also for a file that
    cannot be read."""
    for where, value in json_lines(path, expected):
        yield where, read_as(kind, value, where)


def faults_in(kind: Any, value: Any, where: str) -> list[tuple[str, str]]:
    """All that `read_as` would refuse, in order: the name of the innermost field ("" for none), and
    the line. None at all: the value can be read."""
    try:
        _validator(kind).validate_python(value)
    except ValidationError as error:
        return [
            (
                next((step for step in reversed(each["loc"]) if isinstance(step, str)), ""),
                " ".join(_fault(each, where).splitlines()),
            )
            for each in error.errors(include_url=False)
        ]
    return []


def _read(kind: Any, value: Any, where: str, *field: str) -> Any:
    try:
        return _validator(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        first["loc"] = (*field, *first["loc"])
        raise DataError(" ".join(_fault(first, where).splitlines())) from None


@cache
def _validator(kind: Any) -> SchemaValidator:
    return SchemaValidator(_strict(TypeAdapter(kind).core_schema))


def _strict(schema: Any) -> Any:
    """The schema, with no scalar made from another."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: part if key == "default" else _strict(part) for key, part in schema.items()}
    if schema.get("type") in _SCALARS:
        strict["strict"] = True
    if schema.get("type") == "str":
        strict.setdefault("max_length", sys.maxsize)  # or halves of characters are not looked for
    if schema.get("type") == "float":
        strict["allow_inf_nan"] = False
    return strict


def _fault(error: ErrorDetails, where: str) -> str:
    """What is wrong, in one line."""
    kind, loc, given = error["type"], error["loc"], error["input"]
    in_list = not loc or isinstance(loc[-1], int)
    if kind == "dataclass_type" or (kind == "dict_type" and in_list):
        return f"{_place(where, loc)}: expected {_OBJECT}, got {given!r:.80}"
    if kind == "missing" and isinstance(given, Mapping):
        return _missing(loc[-1], given, _place(where, loc[:-1]))
    if not loc or (kind == "value_error" and isinstance(given, Mapping)):  # of several fields
        return f"{_place(where, loc)}: {_complaint(error)}"
    num_outer = max((n for n, step in enumerate(loc) if isinstance(step, str)), default=0)
    name = _place(repr(loc[num_outer]), loc[num_outer + 1 :])  # 'turns' 2
    return f"{_place(where, loc[:num_outer])}: {name} {_complaint(error)}"


def _missing(name: int | str, row: Mapping[str, Any], where: str) -> str:
    has = ", ".join(map(str, row)) or "none"
    return f"{where}: field {name!r} is missing; it has {has}"


def _place(where: str, loc: Sequence[int | str]) -> str:
    """`where`, and what leads on from there: the items of "turns" are turn 1, turn 2, ..."""
    for step in loc:
        if isinstance(step, int):
            one = f"{where[:-3]}y" if where.endswith("ies") else where.removesuffix("s")
            where = f"{one} {step + 1}"
        else:
            where = f"{where}, {step}"
    return where


def _complaint(error: ErrorDetails) -> str:
    """What is to be said behind the name of a field."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    own_words = error["msg"] if kind == "must" else context.get("expected")
    is_text = kind == "string_unicode" or "text" in (own_words or "")
    if is_text and isinstance(given, str) and (half := _half_character(given)):
        return f"holds half of a character ({half!r}), which is no text"
    expected = own_words or _WORDS.get(kind, error["msg"].removeprefix("Input should be "))
    return f"must be {expected}, got {given!r:.80}"


def _half_character(text: str) -> str:
    """What of `text` has no form in UTF-8: JSON can name halves of characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return text[error.start]
    return ""


def whole_text(text: str, what: str) -> str:
    """`text`, if every character of it has a form in UTF-8: JSON can name halves of characters,
    which have none."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{what} holds half of a character ({text[error.start]!r}), which is no text"
        ) from error
    return text


def has_value(row: Any, name: str) -> bool:
    """Whether `row` holds something other than null under `name`."""
    return isinstance(row, Mapping) and row.get(name) is not None


def first_filled(row: Any, *names: str) -> str:
    """The first of these names that has a value; the last where none has."""
    return next((name for name in names if has_value(row, name)), names[-1])
