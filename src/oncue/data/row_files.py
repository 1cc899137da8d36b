"""The rows of several files as one list, and its order in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oncue.data.indexed_rows import IndexedRows, indexed_rows
from oncue.errors import ConfigError, DataError, InputError


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A row of a file, which is read when it is needed."""

    path: Path
    rows: IndexedRows
    number: int

    def __str__(self) -> str:
        return self.rows.where(self.number)

    def read(self, expected: str) -> Mapping[str, Any]:
        """The object of the row. Raises DataError for a row that holds none."""
        return self.rows.read(self.number, expected)

    @contextmanager
    def named(self) -> Iterator[None]:
        """What is wrong in the block is a DataError that begins with file and row."""
        try:
            yield
        except InputError as error:
            said = str(error)
            raise DataError(said if said.startswith(str(self)) else f"{self}: {said}") from error


@dataclass(frozen=True, slots=True)
class RowFiles:
    """The rows of `paths`, in the order of the files; none is held in memory. Raises ConfigError
    for files that are not there, DataError for one without rows."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._files())

    def place(self, number: int) -> Place:
        """Row `number` of the list."""
        for path, rows in zip(self.paths, self._files(), strict=True):
            if number < len(rows):
                return Place(path, rows, number)
            number -= len(rows)
        raise IndexError(number)

    def places(self) -> Iterator[Place]:
        """Every row, in order."""
        for path, rows in zip(self.paths, self._files(), strict=True):
            yield from (Place(path, rows, number) for number in range(len(rows)))

    def shuffled(self, index: int, seed: int) -> Place:
        """Row `index` of epochs that are shuffled one by one."""
        epoch, place = divmod(index, len(self))
        return self.place(int(order_of(len(self), seed, epoch)[place]))

    def _files(self) -> list[IndexedRows]:
        missing = [path for path in self.paths if not path.is_file()]
        if missing or not self.paths:
            named = f"there is no file {missing[0]}" if missing else "no file of rows is named"
            raise ConfigError(f"{named}; give files of rows with --data")
        return [indexed_rows(path) for path in self.paths]


@lru_cache(maxsize=8)
def order_of(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the rows in an epoch, (N,)."""
    return np.random.default_rng((seed, epoch)).permutation(num_rows)
