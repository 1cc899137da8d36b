"""Reading the named fields of JSON objects: what breaks a format is a DataError that says where it
is.

`where` names the place for the user ("gold.json, row 3"); it begins every message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.types import TimeSpan

_LONGEST_S = 1e12  # more seconds than any clock shows


def json_lines(path: Path, expected: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each object of a JSON-lines file with its place, as `filled_lines`. Raises DataError for a
    line that is none."""
    for where, line in filled_lines(path, expected):
        yield where, json_object(line, where, expected)


def filled_lines(path: Path, expected: str) -> Iterator[tuple[str, bytes]]:
    """Each line of a file with its place, "FILE, line N" (from 1); empty lines are passed over.

    `expected` says what a line should hold. Raises DataError for an unreadable file.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}, line {number}", line
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); expected a file of JSON lines: {expected}"
        ) from error


def json_object(line: bytes, where: str, expected: str) -> Mapping[str, Any]:
    """The object that a line holds."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text; expected {expected}") from error
    except (ValueError, RecursionError) as error:  # also for numbers too long and values too deep
        raise DataError(f"{where} is not JSON ({error}); expected {expected}") from error
    if not isinstance(value, Mapping):
        raise DataError(f"{where} holds {value!r:.60}; expected {expected}")
    return value


def field_of(row: Any, name: str, where: str) -> Any:
    """What `row` holds under `name`."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected an object with named fields, got {type(row).__name__}")
    if name not in row:
        raise DataError(
            f"{where}: field {name!r} is missing; it has {', '.join(map(str, row)) or 'none'}"
        )
    return row[name]


def text_of(row: Any, name: str, where: str) -> str:
    """Text with something in it, that can be written and sent."""
    value = field_of(row, name, where)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name!r} must be non-empty text, got {value!r:.80}")
    return whole_text(value, f"{where}: {name!r}")


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


def optional_text_of(row: Any, name: str, where: str) -> str:
    """Text that can be written and sent; "" where there is none."""
    if not has_value(row, name):
        return ""
    if not isinstance(row[name], str):
        raise DataError(f"{where}: {name!r} must be text, got {row[name]!r:.80}")
    return whole_text(row[name], f"{where}: {name!r}")


def id_of(row: Any, name: str, where: str) -> str:
    """A name as text; files also have numbers."""
    value = field_of(row, name, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return text_of(row, name, where)


def items_of(row: Any, name: str, where: str) -> list[Any]:
    """A list, which may be empty."""
    value = field_of(row, name, where)
    if not isinstance(value, list):
        raise DataError(f"{where}: {name!r} must be a list, got {type(value).__name__}")
    return value


def seconds_of(row: Any, name: str, where: str) -> float:
    """A time, 0 or later."""
    value = field_of(row, name, where)
    if not _is_seconds(value) or value < 0:
        raise DataError(
            f"{where}: {name!r} must be a number of seconds, 0 or more, got {value!r:.80}"
        )
    return float(value)


def span_of(row: Any, name: str, where: str) -> TimeSpan:
    """A span of time, written [start, end]."""
    value = field_of(row, name, where)
    if not (isinstance(value, list) and len(value) == 2 and all(map(_is_seconds, value))):
        raise DataError(f"{where}: {name!r} must be [start, end] in seconds, got {value!r:.80}")
    if value[1] < value[0]:
        raise DataError(f"{where}: {name!r} ends before it starts: {value}")
    return TimeSpan(float(value[0]), float(value[1]))


def spans_of(row: Any, name: str, where: str) -> tuple[TimeSpan, ...]:
    """Spans of time, written [[start, end], ...], none of which begins before 0 s."""
    numbered = {f"{name} {i}": span for i, span in enumerate(items_of(row, name, where), 1)}
    spans = tuple(span_of(numbered, number, where) for number in numbered)
    if any(span.start_s < 0 for span in spans):
        raise DataError(f"{where}: {name!r} must not begin before 0 s, got {row[name]!r:.80}")
    return spans


def _is_seconds(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LONGEST_S
    )
