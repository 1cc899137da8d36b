"""The official evaluation input of MMDuet2, two files named after a data set:

    NAME-frame_input_format.json: [{question_id, conversation: [
        {role: "user", content: [{type: "image", image} | {type: "text", text}]}]}]
    NAME-proactivevideoqa_format.json: the gold, as ProactiveVideoQA has it (`oncue.data.gold`):
        [{video, question_id, duration, conversation: [{role, content, time}],
          answer: [{role, content, question, reply_timespan, visible_s?}], part?}]

`part` is ours: times of the gold count from its start. Only the gold can be read back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from oncue.data.formats.gold_files import encode as gold_of
from oncue.data.formats.layout import Layout
from oncue.data.formats.rl import parts_of
from oncue.data.formats.written_rows import from_proactive
from oncue.data.proactive_rows import ProactiveRow
from oncue.files import replacing

INPUT, GOLD = "-frame_input_format.json", "-proactivevideoqa_format.json"


def files_of(path: Path) -> tuple[Path, Path]:
    """The file of the input and that of the gold, for a path with the name of the data set, or that
    of one of both files."""
    name = path.name.removesuffix(INPUT).removesuffix(GOLD).removesuffix(".json")
    return path.with_name(name + INPUT), path.with_name(name + GOLD)


Encoded = tuple[Mapping[str, Any], Mapping[str, Any]]  # a row of the input, and one of the gold


def encode(row: ProactiveRow, layout: Layout) -> Encoded:
    """The rows of both files. Raises DataError or VideoError where the length of the video is not
    known."""
    return _input(row, layout), gold_of(row, layout)


def write(path: Path, rows: Iterable[Encoded]) -> int:
    """Writes both files, row by row; gives the number of rows."""
    number = 0
    with ExitStack() as stack:
        files = [
            stack.enter_context(stack.enter_context(replacing(each)).open("w", encoding="utf-8"))
            for each in files_of(path)
        ]
        for row in rows:
            for file, value in zip(files, row, strict=True):
                file.write((",\n" if number else "[\n") + json.dumps(value, ensure_ascii=False))
            number += 1
        for file in files:
            file.write("\n]\n")
    return number


def _input(row: ProactiveRow, layout: Layout) -> Mapping[str, Any]:
    written = from_proactive(row, layout)
    images = iter(written.images)
    return {
        "question_id": row.row_id,
        "conversation": [
            {
                "role": "user",
                "content": parts_of(turn.text, [next(images) for _ in range(turn.num_frames)]),
            }
            for turn in written.dialogue.turns
            if turn.role == "user"
        ],
    }
