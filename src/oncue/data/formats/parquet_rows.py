"""Our rows as Parquet: the fields of `oncue.data.proactive_rows` as typed columns, one row each.

    row_id, video, video_id, source, kind, dialogue: string     duration: double or null
    part: [double] (start and end in seconds) or null
    questions: [{text: string, time_s: double}]
    gold: [{question: string, content: string, reply_timespan: [double], visible_s: double or null}]
    scenes: [{span: [double], caption: string, subtitle: string}]
    provenance: {where: string, steps: [{step, model, prompt_version: string, num_requests,
                 tokens_in, tokens_out: int64, cost: double}]}

A video is named and never held: no column has bytes. Other columns are passed over when reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.data.formats.layout import Layout
from oncue.data.formats.parquet_files import pyarrow, read_parquet, write_parquet
from oncue.data.formats.reading import each
from oncue.data.proactive_rows import ProactiveRow, read_proactive_row
from oncue.errors import DataError

NEEDED = ("row_id", "video", "video_id", "source", "kind", "dialogue", "questions", "gold")


def read(path: Path, layout: Layout) -> Iterator[ProactiveRow | DataError]:  # noqa: ARG001
    """The rows, a few at a time."""

    def row(placed: tuple[str, dict[str, Any]]) -> ProactiveRow:
        where, value = placed
        optional = {name for name in ("scenes", "provenance") if value.get(name) is None}
        return read_proactive_row({k: v for k, v in value.items() if k not in optional}, where)

    return each(read_parquet(path, NEEDED), row)


def encode(row: ProactiveRow, layout: Layout) -> dict[str, Any]:  # noqa: ARG001
    """The values of a row."""
    return row.plain()


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes encoded rows; gives their number."""
    return write_parquet(path, rows, schema())


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether a file with these columns is one of these."""
    return "row_id" in value


def schema() -> Any:
    """The pyarrow.Schema of the file."""
    pa = pyarrow()
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    span = pa.list_(number)
    step = {"step": text, "model": text, "prompt_version": text}
    step |= {"num_requests": whole, "tokens_in": whole, "tokens_out": whole, "cost": number}

    def objects(**fields: Any) -> Any:
        return pa.list_(pa.struct(fields.items()))

    fields = dict.fromkeys(("row_id", "video", "video_id"), text)
    fields |= {"part": span, "duration": number, "source": text, "kind": text, "dialogue": text}
    fields |= {
        "questions": objects(text=text, time_s=number),
        "gold": objects(question=text, content=text, reply_timespan=span, visible_s=number),
        "scenes": objects(span=span, caption=text, subtitle=text),
        "provenance": pa.struct({"where": text, "steps": objects(**step)}.items()),
    }
    return pa.schema(fields.items())
