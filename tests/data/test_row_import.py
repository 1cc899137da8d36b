"""Rows of others become ours: what is counted, what is left out, and what is an error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.data.retrieval_rows import read_rows
from oncue.data.row_import import import_rows

ROW: dict[str, Any] = {
    "problem_id": 1,
    "problem": "What does she hold?",
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ["(A) a cup", "(B) a book"],
    "solution": "<answer>B</answer>",
    "path": "./Set/1.mp4",
    "data_source": "NExT-GQA",
    "relevant_sample_frames": [3, 4],
}
FREE = {
    **{name: ROW[name] for name in ("problem", "data_type", "path")},
    "problem_id": "x-2",
    "problem_type": "numerical",
    "solution": "<answer>2</answer>",
}
PICTURE = ROW | {"problem_id": 3, "data_type": "image", "path": "./Set/3.jpg"}
BAD = [ROW | {"solution": "<answer>E</answer>"}, "row", ROW | {"problem": ""}]


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "theirs.json"
    path.write_text(json.dumps(rows))
    return path


def test_what_a_file_holds(tmp_path: Path) -> None:
    imported = import_rows(written(tmp_path, ROW, PICTURE, *BAD, FREE, ROW))
    assert [row.row_id for row in imported.rows] == ["1", "x-2", "1"]
    assert imported.rows[0].options == ("A. a cup", "B. a book")
    named = [re.search(r"theirs.json, row (\d)\b", str(fault)) for fault in imported.faults]
    assert [found[1] for found in named if found] == ["3", "4", "5"]
    assert (imported.num_pictures, imported.num_with_evidence) == (1, 2)
    assert imported.num_by_type == {"multiple choice": 2, "numerical": 1}
    assert imported.num_repeated_ids == 1


def test_the_size_of_the_pool_is_given_to_rows_that_do_not_say_it(tmp_path: Path) -> None:
    own = ROW | {"num_frames": 8}
    path = written(tmp_path, ROW, own, FREE)
    assert [row.num_frames for row in import_rows(path, 128).rows] == [128, 8, None]
    assert [row.num_frames for row in import_rows(path).rows] == [None, 8, None]
    (fault,) = import_rows(written(tmp_path, ROW), 4).faults
    assert "pool of 4 must lie from 0 to 3, got [4]" in str(fault)


def test_a_row_whose_video_is_missing(tmp_path: Path) -> None:
    (tmp_path / "1.mp4").touch()
    imported = import_rows(
        written(tmp_path, ROW, ROW | {"problem_id": 4, "path": "4.mp4"}), videos=tmp_path
    )
    assert [row.row_id for row in imported.rows] == ["1"]
    (fault,) = imported.faults
    assert "row '4': the video 4.mp4 is not in" in str(fault)


def call(*words: object) -> int:
    return cli.main(["data", "import", *map(str, words)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(tmp_path, ROW, PICTURE, *BAD, FREE), tmp_path / "made" / "ours.jsonl"
    assert call(path, "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "row 3: 'solution' must be one of the letters A, B" in line
    assert "(and 2 more rows). Correct it, or" in line
    assert not out.exists()
    assert call(path, "--out", out, "--skip-bad-rows", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "type": "summary",
        "num_read": 6,
        "num_rows": 2,
        "num_pictures": 1,
        "num_bad_rows": 3,
        "num_repeated_ids": 0,
        "num_with_evidence": 1,
        "problem_types": {"multiple choice": 1, "numerical": 1},
        "out": str(out),
    }
    assert captured.err.count("left out: ") == 3
    assert [row.row_id for row in read_rows(out)] == ["1", "x-2"]
    again = tmp_path / "again.json"
    assert call(out, "--out", again) == 0
    assert "wrote 2 rows" in capsys.readouterr().out
    assert read_rows(again) == read_rows(out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pool-frames", "0"], "--pool-frames must be at least 1"),
        (["--videos", "nowhere"], "--videos nowhere is no folder"),
        ([], "no row about a video"),
    ],
)
def test_what_a_user_can_correct(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ours.jsonl"
    assert call(written(tmp_path, PICTURE), "--out", out, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not out.exists()


def test_a_file_is_not_written_over_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, ROW)
    assert call(path, "--out", path) == 2
    assert "is a file that is read" in capsys.readouterr().err
    assert call(tmp_path / "missing.json", "--out", tmp_path / "x.jsonl") == 2
    assert "cannot read" in capsys.readouterr().err
