"""Our rows as JSON lines: see `oncue.data.proactive_rows` for the fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.data.formats.layout import Layout
from oncue.data.formats.reading import json_each
from oncue.data.proactive_rows import (
    EXPECTED,
    ProactiveRow,
    read_proactive_row,
)
from oncue.errors import DataError


def read(path: Path, layout: Layout) -> Iterator[ProactiveRow | DataError]:  # noqa: ARG001
    """The rows, one by one."""
    return json_each(path, EXPECTED, read_proactive_row)


def encode(row: ProactiveRow, layout: Layout) -> dict[str, Any]:  # noqa: ARG001
    """The object of a row; `reading.write_json_lines` writes it."""
    return row.plain()


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of these."""
    return "row_id" in value
