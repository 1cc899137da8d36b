"""From one format to another, row by row, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from oncue.data.formats.frame_files import write_frames
from oncue.data.formats.layout import Layout
from oncue.data.formats.reading import each
from oncue.data.formats.registry import Format, Holds
from oncue.data.formats.segments import Segment, check_segment_s, segments_of
from oncue.data.formats.written_rows import from_proactive, to_proactive
from oncue.data.proactive_rows import ProactiveRow
from oncue.errors import ConfigError, DataError


def needs_clock(source: Format, target: Format) -> bool:
    """Whether turns are written or read on the way."""
    apart = source.holds is not target.holds
    return apart or source.holds is Holds.SEGMENTS or target.name == "eval"


def convert(
    path: Path,
    out: Path,
    source: Format,
    target: Format,
    layout: Layout,
    on_fault: Callable[[DataError], None],
    on_row: Callable[[], None] = lambda: None,
) -> int:
    """Reads, changes and writes rows one by one; gives the number written.

    `on_fault` is called with what is wrong with a row: the row is left out, or it raises. `on_row`
    is called after each row. Raises DataError where no row is left, and then nothing is written.
    """
    assert source.read
    assert target.write
    same_turns = source.holds is target.holds is Holds.TURNS
    if target.has_pictures and not same_turns and layout.frames is None:
        raise ConfigError(
            f"{target.name} reads picture files; give their folder as --frames, and "
            "--write-frames where they are still to be made"
        )
    if target.holds is Holds.SEGMENTS and source.holds is not Holds.SEGMENTS:
        check_segment_s(layout)
    rows = changed(source.read(path, layout), source.holds, target.holds, layout)
    encoded = each(rows, lambda row: target.encode(row, layout))

    def usable() -> Iterator[Any]:
        number = 0
        for row in encoded:
            if isinstance(row, DataError):
                on_fault(row)
                continue
            number += 1
            yield row
            on_row()
        if not number:
            raise DataError(f"{path} has no row that can be written as {target.name}")

    return target.write(out, usable())


def changed(rows: Iterator[Any], source: Holds, target: Holds, layout: Layout) -> Iterator[Any]:
    """Rows of one kind as rows of another, each or a DataError."""
    if source is target:
        if layout.write_frames and source is not Holds.TURNS:
            return each(rows, lambda row: _with_frames(row, layout))
        return rows
    if source is Holds.TURNS:
        rows = each(rows, lambda row: to_proactive(row, layout))
    elif source is Holds.SEGMENTS:
        rows = each(rows, lambda segment: segment.row)
    if layout.write_frames:
        rows = each(rows, lambda row: _with_frames(row, layout))
    if target is Holds.TURNS:
        return each(rows, lambda row: from_proactive(row, layout))
    return _segments(rows, layout) if target is Holds.SEGMENTS else rows


def _segments(
    rows: Iterator[ProactiveRow | DataError], layout: Layout
) -> Iterator[Segment | DataError]:
    for found in each(rows, lambda row: list(segments_of(row, layout))):
        if isinstance(found, DataError):
            yield found
        else:
            yield from found


def _with_frames(row: Any, layout: Layout) -> Any:
    write_frames(row.row if isinstance(row, Segment) else row, layout)
    return row
