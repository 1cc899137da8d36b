"""The commands of all benchmarks of proactive models: what they refuse, and what they keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from stream_runs import refused, saved

ALERT = {"video": "one.mp4", "question": "Tell me when it is light.", "answer": [2, 3]}
BACKWARD = {"id": 1, "task": "EPM", "video": "v", "realtime": 5, "question": "Where?"}


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return saved(tmp_path / "said.jsonl", [])


@pytest.mark.parametrize(
    ("name", "rows", "flags"),
    [
        ("omnimmi", [], []),
        ("streamingbench-po", [{"video_path": "v", "questions": []}], []),
        ("ovobench", [BACKWARD], ["--part", "forward"]),
        ("ovo-timing", [BACKWARD], []),
        ("estp", {}, []),
        ("streampro", [], ["--grading", "none"]),
        ("omnipro", [], ["--grading", "none"]),
    ],
)
def test_annotations_without_items_are_refused(tmp_path, said, capsys, name, rows, flags) -> None:
    annotations = saved(tmp_path / "rows.json", rows)
    words = [name, "--annotations", annotations, *flags]
    assert f"no item of {name} is in there" in refused([*words, "--predictions", said], capsys)
    run = ["--run", "--videos", tmp_path, "--policy", "silence", "--out", tmp_path / "out"]
    assert f"no item of {name} is in there" in refused([*words, *run], capsys)


@pytest.mark.parametrize("named", [[], ["one.mp4", "one.mp4"]])
def test_a_run_of_no_items_or_of_one_twice_is_refused(tmp_path, capsys, named) -> None:
    annotations = saved(tmp_path / "alerts.json", [ALERT])
    predictions = saved(tmp_path / "run.jsonl", [{"protocol": {}, "items": named}])
    words = ["omnimmi", "--annotations", annotations, "--predictions", predictions]
    assert "run.jsonl, line 1: 'items' must name the items" in refused(words, capsys)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"protocol": {"model": "\ud800"}}], "line 1: 'protocol' holds half of a character"),
        (
            [{"question_id": "one.mp4", "replies": [], "num_turns": 2, "num_silent": 3}],
            "line 1: 'num_silent' (3) must not be above 'num_turns' (2)",
        ),
        (
            [{"question_id": "one.mp4", "replies": [], "num_silent": 1}],
            "'num_silent' (1) must not be above 'num_turns' (0)",
        ),
    ],
)
def test_what_nobody_can_show_or_count_is_refused(tmp_path, capsys, rows, message) -> None:
    annotations = saved(tmp_path / "alerts.json", [ALERT])
    predictions = saved(tmp_path / "said.jsonl", rows)
    words = ["omnimmi", "--annotations", annotations, "--predictions", predictions]
    assert message in refused([*words, "--out", tmp_path / "out"], capsys)
