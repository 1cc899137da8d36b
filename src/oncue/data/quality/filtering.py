"""Writes the rows that all filters keep, and a line with the reason for each other row."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from oncue.aio import completed
from oncue.data.proactive_rows import ProactiveRow, read_proactive_rows
from oncue.data.quality.filters import Filter
from oncue.files import replacing

_BATCH = 64  # rows that models are asked about at once


@dataclass(slots=True)
class FilterCounts:
    """How many rows were read and kept, and how many each filter has left out."""

    num_read: int = 0
    num_kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def filter_rows(
    paths: Sequence[Path],
    filters: Sequence[Filter],
    out: Path,
    dropped: Path,
    step: Callable[[], None],
) -> FilterCounts:
    """Writes `out` and `dropped`, both in one step at the end. Filters are asked in their order,
    and the first that leaves a row out is its reason: later ones are not asked about it. A few rows
    are in memory at a time. `step()` is called after each row.

    Raises DataError for a row that breaks its format, BackendError where a model does not answer.
    """
    counts = FilterCounts()
    rows = _rows(paths)
    with (
        asyncio.Runner() as runner,
        replacing(out) as kept_path,
        replacing(dropped) as dropped_path,
        kept_path.open("w", encoding="utf-8") as kept,
        dropped_path.open("w", encoding="utf-8") as left,
    ):
        try:
            while some := list(islice(rows, _BATCH)):
                reasons = completed(_reasons([row for _, row in some], filters), runner)
                for (where, row), reason in zip(some, reasons, strict=True):
                    _write(where, row, reason, kept, left, counts)
                    step()
        finally:
            for one in filters:
                completed(one.aclose(), runner)
    return counts


def _rows(paths: Iterable[Path]) -> Iterator[tuple[str, ProactiveRow]]:
    for path in paths:
        yield from read_proactive_rows(path)


async def _reasons(
    rows: Sequence[ProactiveRow], filters: Sequence[Filter]
) -> list[tuple[str, str] | None]:
    """For each row the name and the reason of the first filter that leaves it out."""

    async def of(row: ProactiveRow) -> tuple[str, str] | None:
        for one in filters:
            if why := await one.why(row):
                return one.name, why
        return None

    tasks = [asyncio.create_task(of(row)) for row in rows]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _write(
    where: str,
    row: ProactiveRow,
    reason: tuple[str, str] | None,
    kept: TextIO,
    left: TextIO,
    counts: FilterCounts,
) -> None:
    counts.num_read += 1
    if reason is None:
        counts.num_kept += 1
        _line(kept, row.plain())
        return
    name, why = reason
    counts.dropped[name] += 1
    _line(left, {
        "row_id": row.row_id, "video_id": row.video_id, "where": where, "filter": name,
        "reason": why,
    })  # fmt: skip


def _line(file: TextIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
