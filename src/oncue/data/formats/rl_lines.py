"""Examples of reinforcement learning for `oncue train grpo`: JSON lines, one segment each.

Their layout is that of `oncue.data.row_examples`. Times are those of the file, from its start. So a
row about a part of a file that begins later has no such example: its grid would be another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.data.formats.frame_names import is_pattern
from oncue.data.formats.layout import Layout
from oncue.data.formats.reading import json_each
from oncue.data.formats.segments import Segment
from oncue.data.formats.written_rows import kind_of
from oncue.data.proactive_rows import ProactiveRow, Provenance
from oncue.data.row_examples import EXPECTED, ExampleLine
from oncue.data.video_files import find_video
from oncue.errors import DataError
from oncue.fields import read_as


def read(path: Path, layout: Layout) -> Iterator[Segment | DataError]:
    """The examples, one by one."""

    def segment(value: Mapping[str, Any], where: str) -> Segment:
        line = read_as(ExampleLine, value, where)
        if not line.questions:
            raise DataError(f"{where}: 'questions' must be a list that is not empty")
        task = line.task()
        row = ProactiveRow(
            task,
            line.video,
            Path(line.video.replace("\\", "/")).stem,
            "examples",
            layout.kind,
            kind_of(task.questions),
            provenance=Provenance(where),
        )
        return Segment(line.example_id, row, line.segment)

    return json_each(path, EXPECTED, segment)


def encode(segment: Segment, layout: Layout) -> dict[str, Any]:
    """The object of an example. Raises DataError for one that this format does not have."""
    row = _checked(segment)
    video = row.video if layout.videos is None else str(find_video(row.video, layout.videos))
    gold = []
    for turn in row.task.gold:
        span = [turn.span.start_s, turn.span.end_s]
        plain = {"question": turn.question, "content": turn.content, "reply_timespan": span}
        gold.append(plain if turn.visible_s is None else {**plain, "visible_s": turn.visible_s})
    return {
        "example_id": segment.example_id,
        "video": video,
        "segment": [segment.span.start_s, segment.span.end_s],
        "questions": [{"time_s": q.time_s, "text": q.text} for q in row.task.questions],
        "gold": gold,
    }


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of these."""
    return "example_id" in value


def _checked(segment: Segment) -> ProactiveRow:
    row = segment.row
    if row.part is not None and row.part.start_s > 0:
        raise DataError(
            f"row {row.row_id!r} is about the part of {row.video} from {row.part.start_s:g} s; "
            "this format has whole files only: cut the video, or use the format rl"
        )
    if is_pattern(row.video):
        raise DataError(
            f"row {row.row_id!r} is about the pictures {row.video}; this format has videos only: "
            "use the format rl"
        )
    if not all(gold.question for gold in row.task.gold):
        raise DataError(f"row {row.row_id!r}: a gold reply does not say its question")
    return row
