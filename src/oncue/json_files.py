"""Reading files of JSON: one value, lines, or rows, each with its place for messages.

What a row holds is read by `oncue.fields`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.errors import DataError


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


def json_file(path: str | Path, expected: str) -> Any:
    """The JSON value that a file holds. Raises DataError for a file that cannot be read, or holds
    none; `expected` says what it should hold."""
    try:
        return json.loads(Path(path).read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; expected {expected}") from error
    except (ValueError, RecursionError) as error:  # also for numbers too long and values too deep
        raise DataError(f"{path} is not JSON ({error}); expected {expected}") from error


def json_object_in(path: Path, expected: str) -> Mapping[str, Any]:
    """The JSON object that a file holds, as `json_file`. Raises DataError for any other value."""
    return json_object(json_file(path, expected), str(path), expected)


def json_rows(path: Path, expected: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each object of a JSON array or of a JSON-lines file with its place, as `written_rows`. Raises
    DataError for a row that is none."""
    for where, written in written_rows(path, expected):
        yield where, json_object(written, where, expected)


def written_rows(path: Path, expected: str) -> Iterator[tuple[str, Any]]:
    """Each row of a file with its place: an item of a JSON array, or a line as bytes (`json_object`
    reads both). `expected` says what a row should hold. Raises DataError for a file that cannot be
    read, or holds a broken array."""
    try:
        with path.open("rb") as file:
            is_array = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); expected JSON lines or an array: {expected}"
        ) from error
    if not is_array:
        yield from filled_lines(path, expected)
        return
    for number, row in enumerate(json_file(path, f"an array: {expected}"), 1):
        yield f"{path}, row {number}", row


def json_object(written: Any, where: str, expected: str) -> Mapping[str, Any]:
    """The object that a line holds, or that an item of an array is."""
    value = _decoded(written, where, expected) if isinstance(written, bytes) else written
    if not isinstance(value, Mapping):
        raise DataError(f"{where} holds {value!r:.60}; expected {expected}")
    return value


def _decoded(line: bytes, where: str, expected: str) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text; expected {expected}") from error
    except (ValueError, RecursionError) as error:  # also for numbers too long and values too deep
        raise DataError(f"{where} is not JSON ({error}); expected {expected}") from error
