"""Rows one by one, so that what is wrong with one does not end the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from oncue.errors import DataError, DialogueError, VideoError
from oncue.files import replacing
from oncue.json_files import json_object, written_rows

Given = TypeVar("Given")
Made = TypeVar("Made")


def each(
    items: Iterable[Given | DataError], make: Callable[[Given], Made]
) -> Iterator[Made | DataError]:
    """`make` of each item; what it finds wrong with an item is a DataError in its place."""
    for item in items:
        if isinstance(item, DataError):
            yield item
            continue
        try:
            yield make(item)
        except (DataError, DialogueError, VideoError) as error:
            yield DataError(*error.args)


def json_each(
    path: Path, expected: str, make: Callable[[Mapping[str, Any], str], Made]
) -> Iterator[Made | DataError]:
    """`make` of the object of each row of a JSON-lines file or an array, and of its place."""

    def made(row: tuple[str, Any]) -> Made:
        return make(json_object(row[1], row[0], expected), row[0])

    return each(written_rows(path, expected), made)


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Writes lines of text in one step; gives their number."""
    number = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line + "\n")
            number += 1
    return number


def write_json_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> int:
    """Writes objects as JSON lines in one step; gives their number."""
    return write_lines(
        path, (json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    )
