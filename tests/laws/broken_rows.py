"""Breaks each value of a good row in turn, and checks the line that is said of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from oncue.errors import InputError

Read = Callable[[Path], Any]

# Said of several fields together, or in the words of another field.
OF_SEVERAL = (
    "no user turn",
    "relevant frames of a pool",
    "'question' is missing",
    "question 1: expected",
    "marks, but",
    "no start of an event",
    "field 'level' is missing",
    "trigger 1: expected",
    "trigger 1: field",
    "probe 1: expected",
    "probe 1: field",
    "turn 1: expected",
    "turn 1: field 'role'",
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every value in `value`."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*at, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*at, key))


def broken(row: dict[str, Any], at: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """`row` with another value at a place; without that field where the value is Ellipsis."""
    row = copy.deepcopy(row)
    inner: Any = row
    for key in at[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return row


def value_at(row: Any, at: tuple[str | int, ...]) -> Any:
    for key in at:
        row = row[key]
    return row


def complaint(path: Path, row: dict[str, Any], read: Read) -> str | None:
    """What is said of a file with that one row; None where it is read."""
    path.write_text(json.dumps([row] if path.suffix == ".json" else row))
    try:
        got = read(path)
        faults = [] if isinstance(got, dict) else [x for x in got if isinstance(x, InputError)]
    except InputError as error:
        faults = [error]
    return str(faults[0]) if faults else None


def check_each_broken_value(path: Path, row: dict[str, Any], read: Read, optional: str) -> None:
    """`row` is read; with a broken value it is not, and one line names file, place and field.

    `optional`: the names that may be left out.
    """
    assert complaint(path, row, read) is None
    for at in places(row):
        held = value_at(row, at)
        fields = [key for key in at if isinstance(key, str)]
        others: list[Any] = [None, True, "x", "\ud800", -1, 10**20, [], [None], {}]
        if isinstance(at[-1], str):
            others.append(...)
        for value in others:
            said = complaint(path, broken(row, at, value), read)
            case = f"{'.'.join(map(str, at))} = {value!r:.20}: {said}"
            if said is None:
                is_number = isinstance(held, int | float) and not isinstance(held, bool)
                wrong = is_number and (value is True or isinstance(value, str | list | dict))
                assert not wrong, case
                assert value is not ... or fields[-1] in optional.split(), case
                continue
            assert len(said.splitlines()) == 1, case
            assert f"{path.name}, " in said or f"row 1 of {path}" in said, case
            assert "line 1" in said or "row 1" in said, case
            one_of = fields[-1].removesuffix("ies").removesuffix("s")
            assert one_of in said or any(map(said.count, OF_SEVERAL)), case
            assert len(said.replace(str(path), "")) < 300, case
