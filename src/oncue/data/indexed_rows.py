"""Rows of large files by number: what is held in memory is where each row begins, not the rows.

JSON lines, a JSON array of objects, or Parquet (name ending `.parquet`).
"""

from __future__ import annotations

import mmap
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from oncue.errors import ConfigError, DataError
from oncue.extras import install_command
from oncue.json_files import json_object

# In an array: a text (its brackets count for nothing), or a bracket
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
_HEAD = 4096  # bytes in which the first character of a file is looked for
_GROUPS_HELD = 2  # row groups of a Parquet file


class IndexedRows(Protocol):
    """The rows of a file, from number 0 on."""

    def __len__(self) -> int: ...

    def where(self, number: int) -> str:
        """The file and place of a row, for messages."""
        ...

    def read(self, number: int, expected: str) -> Mapping[str, Any]:
        """The object of a row. Raises DataError, with its place and what was `expected`, for a row
        that holds none."""
        ...


def indexed_rows(path: Path) -> IndexedRows:
    """The rows of a file. It is read once to find them; a file that changes during a run has to
    be forgotten (`forget_indexed_rows`). Raises DataError for a file that cannot be read, and for
    one without rows."""
    return _indexed(path)


def forget_indexed_rows() -> None:
    """Files are read again when they are next needed."""
    _indexed.cache_clear()
    _row_group.cache_clear()


@lru_cache(maxsize=64)
def _indexed(path: Path) -> IndexedRows:
    try:
        rows: IndexedRows = _ParquetRows.of(path) if _is_parquet(path) else _json_rows(path)
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); give a file of rows: JSON lines, a JSON array "
            "or Parquet"
        ) from error
    if not len(rows):
        raise DataError(f"there is no row in {path}; give a file with at least one")
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class _JsonRows:
    """`starts`, `ends`: of each row, in bytes. `numbers`: of its line, or its place in the array,
    from 1; `called` is "line" or "row"."""

    path: Path
    called: str
    starts: array[int]
    ends: array[int]
    numbers: array[int]

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, number: int) -> str:
        return f"{self.path}, {self.called} {self.numbers[number]}"

    def read(self, number: int, expected: str) -> Mapping[str, Any]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.starts[number])
                written = file.read(self.ends[number] - self.starts[number])
        except OSError as error:
            raise DataError(f"cannot read {self.where(number)} ({error.strerror})") from error
        return json_object(written, self.where(number), expected)


def _json_rows(path: Path) -> _JsonRows:
    with path.open("rb") as file:
        is_array = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    starts, ends, numbers = array("q"), array("q"), array("q")
    places = _objects_of_array(path) if is_array else _lines(path)
    for number, start, end in places:
        starts.append(start)
        ends.append(end)
        numbers.append(number)
    return _JsonRows(path, "row" if is_array else "line", starts, ends, numbers)


def _lines(path: Path) -> Iterator[tuple[int, int, int]]:
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, start, start + len(line)
            start += len(line)


def _objects_of_array(path: Path) -> Iterator[tuple[int, int, int]]:
    """Of each object of the array. Raises DataError where brackets do not match."""
    depth = number = start = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for token in _TOKENS.finditer(text):
            mark = token[0]
            if mark in b"[{":
                if depth == 1:
                    start = token.start()
                depth += 1
            elif mark in b"]}":
                depth -= 1
                if depth == 1:
                    number += 1
                    yield number, start, token.end()
    if depth:
        raise DataError(
            f"{path} is cut off: an array of JSON that is not closed; download or write it again"
        )


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


@dataclass(frozen=True, slots=True, eq=False)
class _ParquetRows:
    """`firsts`: the number of the first row of each row group, and of a row behind the last."""

    path: Path
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> _ParquetRows:
        pq = _parquet()
        file = _opened(pq, path)
        firsts = [0]
        for group in range(file.metadata.num_row_groups):
            firsts.append(firsts[-1] + file.metadata.row_group(group).num_rows)
        return cls(path, tuple(firsts))

    def __len__(self) -> int:
        return self.firsts[-1]

    def where(self, number: int) -> str:
        return f"{self.path}, row {number + 1}"

    def read(self, number: int, expected: str) -> Mapping[str, Any]:
        group = next(g for g in range(len(self.firsts) - 1) if number < self.firsts[g + 1])
        rows = _row_group(self.path, group)
        return json_object(rows[number - self.firsts[group]], self.where(number), expected)


@lru_cache(maxsize=_GROUPS_HELD)
def _row_group(path: Path, group: int) -> list[dict[str, Any]]:
    """The rows of a group."""
    return list(_opened(_parquet(), path).read_row_group(group).to_pylist())


def _opened(pq: Any, path: Path) -> Any:
    from pyarrow import ArrowException

    try:
        return pq.ParquetFile(path)
    except ArrowException as error:
        raise DataError(f"{path} is no Parquet file ({error}); download or write it again") from (
            error
        )


def _parquet() -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            f"Parquet needs pyarrow; install it with: {install_command('pyarrow')}"
        ) from error
    return pq
