"""Parquet files of typed rows, read and written in row groups, so that memory does not grow with
the file. Needs pyarrow, of the extra `data`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, DataError
from oncue.extras import install_command
from oncue.files import replacing

ROWS_PER_GROUP = 1000
_ROWS_AT_ONCE = 256


def pyarrow() -> Any:
    """The module `pyarrow`. Raises ConfigError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            f"Parquet files need pyarrow ({error}); {install_command('pyarrow')}"
        ) from error
    return pyarrow


def columns_of(path: Path) -> list[str]:
    """The names of the columns of a file. Raises DataError for a file that is no Parquet."""
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_parquet(path: Path, needed: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place, "FILE, row N" (from 1), read a few at a time. Raises DataError for
    a file that is no Parquet, or lacks one of the columns `needed`."""
    with _opened(path) as file:
        has = list(file.schema_arrow.names)
        lacking = [name for name in needed if name not in has]
        if lacking:
            raise DataError(
                f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(has) or 'none'}"
            )
        number = 0
        batches = file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pyarrow().ArrowException, OSError) as error:
                raise DataError(f"{path} is broken after row {number} ({error})") from error
            if batch is None:
                return
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], schema: Any) -> int:
    """Writes rows of `schema` (a pyarrow.Schema) in one step; gives their number."""
    arrow = pyarrow()
    number, rows = 0, iter(rows)
    with (
        replacing(path) as temporary,
        arrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        while group := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema))
            number += len(group)
    return number


def _opened(path: Path) -> Any:
    arrow = pyarrow()
    try:
        return arrow.parquet.ParquetFile(path, pre_buffer=False)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({error}); expected a Parquet file of rows"
        ) from error
