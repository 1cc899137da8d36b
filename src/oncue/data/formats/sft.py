"""The official SFT file of MMDuet2: JSON lines.

    {"messages": [{"role": "system", "content"}, {"role": "user", "content": "<image><image>Who?"},
                  {"role": "assistant", "content": "NO REPLY"}, ...],
     "images": [{"path": "frames/a/000001.jpg"}, ...], "metadata": {"question_id", "video_id"}}

A row that is read and written is the same, byte for byte: keys in their order, all metadata, image
objects. It is not where its line is not as Python's `json.dumps` writes it (with blanks or without,
other characters escaped or not): other blanks, numbers such as 1e3, keys that occur twice, the rows
of a JSON array, or empty lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.data.formats.layout import Layout
from oncue.data.formats.reading import each
from oncue.data.formats.written_rows import LineStyle, WrittenRow, written_row
from oncue.errors import DataError
from oncue.json_files import json_object, written_rows

EXPECTED = "a row of supervised training, an object with messages, images and metadata"


def read(path: Path, layout: Layout) -> Iterator[WrittenRow | DataError]:  # noqa: ARG001
    """The rows, one by one."""
    return each(written_rows(path, EXPECTED), _row)


def encode(row: WrittenRow, layout: Layout) -> str:  # noqa: ARG001
    """The line of a row; `reading.write_lines` writes it."""
    return row.line


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of these."""
    return "messages" in value


def _row(written: tuple[str, Any]) -> WrittenRow:
    where, text = written
    value = json_object(text, where, EXPECTED)
    style = LineStyle.of(text, value) if isinstance(text, bytes) else LineStyle()
    return written_row(value, where, style)
