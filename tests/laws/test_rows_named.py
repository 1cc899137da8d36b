"""What breaks a row of any file is one line that names file, place and field.

Each reader gets a good row, and then the same row with each of its values broken in turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken_rows import Read, check_each_broken_value

from oncue.data.curate.nextgqa import read_nextgqa
from oncue.data.curate.qvhighlights import read_queries
from oncue.data.gold import load_gold
from oncue.data.retrieval_rows import row_lines
from oncue.data.row_examples import RowExamples, forget_examples
from oncue.dialogue.rows import read_row
from oncue.eval.benchmarks.mcq_rows import read_questions
from oncue.records.judgements import read_judgements
from oncue.records.retrieval_rollouts import read_retrieval_rollouts
from oncue.records.rollouts import read_rollouts
from oncue.view.retrieval_stored import read_episodes
from oncue.view.stored import _groups

COVERAGE = {"kind": "coverage", "gold_index": 0, "time": 4, "level": 3}
ROLLOUT = {
    "episode_id": "5/a/0/1",
    "gold": [{"question": "q", "content": "c", "reply_timespan": [1, 3.5]}],
    "turns": [{"time": 2.0, "text": "NO REPLY"}, {"time": 4, "text": "Yes."}],
    "previous_replies": ["a"],
}
OF_A_RUN = {
    "questions": [{"text": "q", "time": 0}],
    "example": 3,
    "judgements": [COVERAGE, {"kind": "repetition", "time": 4, "repeated": True}],
    "reward": 1.5,
    "advantage": -0.5,
    "unscored": 0,
    "coverage": 0.5,
    "malformed": [{"time": 2.0, "reason": "r", "text": "<"}],
    "turn_advantages": [0.5, -0.5],
}
EPISODE = {
    "episode_id": "e",
    "question": "Which?",
    "options": ["A. red", "B. blue"],
    "answer": "B",
    "duration_s": 64,
    "evidence": {"frames": [0, 1], "num_frames": 64, "spans": [[0, 4]]},
    "turns": [
        {"frames": [0], "times": [0.5], "action": {"retrieve": [2, 5]}, "asked": [2]},
        {"frames": [2], "times": [2.5], "thought": "?", "action": {"answer": "b"}},
    ],
}
GOLD = {
    "video": "a.mp4",
    "question_id": "a",
    "duration": 27.5,
    "conversation": [{"role": "user", "content": "Where?", "time": 0}],
    "answer": [
        {
            "content": "By the door.",
            "reply_timespan": [0.0, 7.5],
            "related_timespan": [0.0, 6.5],
            "visible_s": 3,
        }
    ],
}
EXAMPLE = {
    "example_id": "one",
    "video": __file__,
    "segment": [8, 14],
    "questions": [{"time_s": 0, "text": "What?"}],
    "gold": [{"question": "q", "content": "c", "reply_timespan": [1, 2], "visible_s": 1.5}],
}
RETRIEVAL = {
    "problem_id": "p",
    "problem": "What?",
    "options": ["A. a cup", "B. a book"],
    "solution": "B",
    "path": "7.mp4",
    "relevant_sample_frames": [9, 8],
    "num_frames": 64,
    "spans": [[1, 2]],
    "duration": 30,
}
QVHIGHLIGHTS = {
    "qid": "5",
    "query": "A man.",
    "vid": "v",
    "duration": 150,
    "relevant_windows": [[0, 2]],
}
VIDEOCHAT = {
    "id": "1",
    "video": "v",
    "question": "q",
    "options": ["x", "y"],
    "duration": 30,
    "glue": [[1, 2]],
    "answer": "A",
}
LVBENCH = {
    "key": "v",
    "qa": [{"uid": "7", "question": "Who?", "options": ["Ann", "Bo"], "answer": "A"}],
    "video_info": {"duration_minutes": 60.5},
}
WRITTEN = {
    "messages": [
        {"role": "user", "content": "<image>Q"},
        {"role": "assistant", "content": "A.", "loss": False},
    ],
    "images": ["a.jpg"],
}


def examples(path: Path) -> Any:
    forget_examples()
    return RowExamples((path,)).rows()


READERS: list[tuple[str, dict[str, Any], Read, str]] = [  # and what may be left out
    ("gold.json", GOLD, load_gold, "related_timespan visible_s"),
    ("rollouts.jsonl", ROLLOUT, read_rollouts, "previous_replies"),
    (
        "run.jsonl",
        ROLLOUT | OF_A_RUN,
        lambda path: _groups(path, ["coverage"]),
        "previous_replies example judgements malformed turn_advantages",
    ),
    ("judged.jsonl", {"episode_id": "e", **COVERAGE}, read_judgements, ""),
    ("looks.jsonl", EPISODE, read_retrieval_rollouts, "options duration_s spans thought asked"),
    (
        "page.jsonl",
        EPISODE | {"evidence": None, "unit": "frames", "pool_frames": 64},
        read_episodes,
        "options duration_s thought asked unit pool_frames",
    ),
    ("examples.jsonl", EXAMPLE, examples, "visible_s"),
    (
        "rows.json",
        RETRIEVAL,
        row_lines,
        "options relevant_sample_frames num_frames spans duration",
    ),
    ("queries.jsonl", QVHIGHLIGHTS, lambda path: read_queries([path]), ""),
    ("videochat.json", VIDEOCHAT, lambda path: read_nextgqa([path]), ""),
    (
        "lvbench.json",
        LVBENCH,
        lambda path: read_questions([path], "lvbench"),
        "uid answer qa video_info duration_minutes",
    ),
    ("written.jsonl", WRITTEN, read_row, "loss images"),
]
ids = [name for name, *_ in READERS]


@pytest.mark.parametrize(("name", "row", "read", "optional"), READERS, ids=ids)
def test_each_broken_value_is_named(
    name: str, row: dict[str, Any], read: Read, optional: str, tmp_path: Path
) -> None:
    check_each_broken_value(tmp_path / name, row, read, optional)
