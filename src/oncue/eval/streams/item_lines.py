"""What became of each item of a run, in JSON lines: for people, and to compare two runs.

    {"id", "video", "subset", "due": [[start, end], ...], "terms": {name: number}, "worth",
     "marks": [{"time", "text", "verdict"}]}

`terms` add up over items; those of behaviour are among them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.streams.benchmark import ItemScore, Terms
from oncue.eval.streams.stream import Item, Prediction
from oncue.fields import NonEmptyText, VideoSpan, field_as, field_or, has_value, json_lines
from oncue.files import replacing
from oncue.types import TimeSpan

ITEMS_FILE = "items.jsonl"
_EXPECTED = 'a scored item, {"id", "video", "subset", "due", "terms", "worth", "marks"}'

OnItem = Callable[[Item[Any], Prediction, ItemScore], None]


@dataclass(frozen=True, slots=True)
class ItemLine:
    """A scored item as its line has it, without its marks."""

    item_id: str
    video: str
    subset: str
    due: tuple[TimeSpan, ...]
    terms: Terms
    worth: float | None


@contextmanager
def writing_items(folder: Path | None) -> Iterator[OnItem]:
    """A function that writes the line of an item, as `score_predictions` calls it; without a folder
    it does nothing. The file appears when the block ends well."""
    if folder is None:
        yield lambda *_: None
        return
    with (
        replacing(folder / ITEMS_FILE) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):

        def write(item: Item[Any], said: Prediction, score: ItemScore) -> None:  # noqa: ARG001
            file.write(_line(item, score) + "\n")

        yield write


def read_items(path: Path) -> Iterator[ItemLine]:
    """The lines of a file. Raises DataError, with the number of the line, for what is no line."""
    for where, row in json_lines(path, _EXPECTED):
        terms = field_as(Any, row, "terms", where)
        if not isinstance(terms, dict) or not all(map(_is_number, terms.values())):
            raise DataError(f"{where}: 'terms' must be an object of numbers, got {terms!r:.80}")
        worth = row["worth"] if has_value(row, "worth") else None
        if worth is not None and not _is_number(worth):
            raise DataError(f"{where}: 'worth' must be a number or null, got {worth!r:.80}")
        yield ItemLine(
            field_as(NonEmptyText, row, "id", where),
            field_as(NonEmptyText, row, "video", where),
            field_or(str, row, "subset", where, ""),
            field_as(tuple[VideoSpan, ...], row, "due", where),
            terms,
            worth,
        )


def _line(item: Item[Any], score: ItemScore) -> str:
    stream = item.stream
    row = {
        "id": stream.item_id,
        "video": stream.video,
        "subset": stream.subset,
        "due": [[gold.span.start_s, gold.span.end_s] for gold in stream.due],
        "terms": dict(score.terms),
        "worth": score.worth,
        "marks": [
            {"time": mark.reply.time_s, "text": mark.reply.text, "verdict": mark.verdict}
            for mark in score.marks
        ],
    }
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
