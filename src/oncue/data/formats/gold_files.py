"""Gold files: ProactiveVideoQA's annotations, and `NAME-proactivevideoqa_format.json` (one JSON
array, see `oncue.data.gold`). They are read whole; subtitles are asked as they are written.

A gold row has no name for its video but the file. `part`, where a row has it, is ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from oncue.data.formats.frame_names import duration_of
from oncue.data.formats.layout import Layout
from oncue.data.formats.written_rows import kind_of
from oncue.data.gold import TOLERANCE_S, load_gold
from oncue.data.proactive_rows import ProactiveRow, Provenance
from oncue.errors import DataError
from oncue.fields import VideoSpan, read_as
from oncue.files import replacing
from oncue.json_files import json_file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    part: VideoSpan | None = None


def read(path: Path, layout: Layout) -> Iterator[ProactiveRow | DataError]:
    """The rows. Raises DataError for the first that breaks the format."""
    samples = load_gold(path)
    values = json_file(path, "a gold file, a list of rows")
    for number, (sample, value) in enumerate(zip(samples, values, strict=True), 1):
        where = f"{path}, row {number}"
        yield ProactiveRow(
            sample.task,
            sample.video,
            PurePosixPath(sample.video.replace("\\", "/")).stem,
            "proactivevideoqa",
            layout.kind,
            kind_of(sample.task.questions),
            read_as(_Part, value, where).part,
            provenance=Provenance(where),
        )


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes objects of rows as one JSON array, a row per line; gives the number of rows."""
    number = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write((",\n" if number else "[\n") + json.dumps(row, ensure_ascii=False))
            number += 1
        file.write("\n]\n")
    return number


def encode(row: ProactiveRow, layout: Layout) -> dict[str, Any]:
    """The row of a gold file."""
    duration_s = duration_of(row, layout)
    for gold in row.task.gold:
        if gold.span.end_s > duration_s + TOLERANCE_S:
            raise DataError(
                f"row {row.row_id!r}: the span of {gold.content!r:.60} ends at {gold.span.end_s:g} "
                f"s, after the video of {duration_s:g} s; cut it"
            )
    part = {} if row.part is None else {"part": [row.part.start_s, row.part.end_s]}
    return {
        "video": row.video,
        "question_id": row.row_id,
        "duration": duration_s,
        "conversation": [
            {"role": "user", "content": q.text, "time": q.time_s} for q in row.task.questions
        ],
        "answer": [
            {
                "role": "assistant",
                "content": gold.content,
                **({"question": gold.question} if gold.question else {}),
                "reply_timespan": [gold.span.start_s, gold.span.end_s],
                **({} if gold.visible_s is None else {"visible_s": gold.visible_s}),
            }
            for gold in row.task.gold
        ],
        **part,
    }


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of these."""
    return "conversation" in value and "answer" in value
