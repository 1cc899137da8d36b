"""Proactive dialogues as JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oncue.data.proactive_rows import (
    DialogueKind,
    ProactiveRow,
    Provenance,
    Scene,
    StepCost,
    read_proactive_row,
    read_proactive_rows,
    write_proactive_rows,
)
from oncue.data.source_videos import VideoKind
from oncue.errors import DataError
from oncue.types import GoldTurn, Question, Task, TimeSpan

ROW = ProactiveRow(
    Task(
        "a-1",
        (Question("What is cut?", 0.0), Question("Who comes?", 8.0)),
        (
            GoldTurn("An onion.", TimeSpan(2.0, 6.5), "What is cut?"),
            GoldTurn("A man.", TimeSpan(9.0, 12.0), "Who comes?", visible_s=9.5),
        ),
        30.5,
    ),
    "clips/a.mp4",
    "a",
    "live-whisperx",
    VideoKind.WEB,
    DialogueKind.MANY_QUESTIONS,
    TimeSpan(12.0, 42.5),
    (Scene(TimeSpan(0.0, 6.5), "An onion is cut.", "First, cut it."),),
    Provenance("rows.jsonl, line 3", (StepCost("captions", "m", "captions-1", 2, 10, 5, 0.25),)),
)


def test_a_row_that_is_written_is_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert write_proactive_rows(path, [ROW, ROW]) == 2
    assert [row for _, row in read_proactive_rows(path)] == [ROW, ROW]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("kind", "film", "kind"),
        ("questions", [], "questions"),
        ("duration", 0, "duration"),
        ("part", [5, 2], "part"),
        ("gold", [{"content": "x", "reply_timespan": [3, 3]}], "reply_timespan"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, said: str) -> None:
    plain = json.loads(json.dumps(ROW.plain()))
    assert read_proactive_row(plain, "here") == ROW
    with pytest.raises(DataError, match=rf"here.*{said}"):
        read_proactive_row({**plain, field: value}, "here")
