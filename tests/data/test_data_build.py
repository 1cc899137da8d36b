"""`oncue data build` from the command line: estimate, run, prompts, mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue.cli import main
from oncue.video.writer import write_video
from openai_server import OpenAIServer
from pipeline_model import model


@pytest.fixture
def dense(tmp_path: Path) -> list[str]:
    """A clip of 6 s, with dense captions of it and of one that is not there."""
    pictures = (np.full((64, 96, 3), 40 * (k // 5), np.uint8) for k in range(30))
    write_video(tmp_path / "a.mp4", pictures, 5.0)
    entry = {"duration": 6.0, "timestamps": [[0, 2], [2, 5]], "sentences": ["one", "two"]}
    (tmp_path / "dense.json").write_text(json.dumps({"a": entry, "b": entry}))
    return [
        *("--source", "activitynet", str(tmp_path / "dense.json")),
        *("--videos", str(tmp_path), "--cache", str(tmp_path / "answers.sqlite3")),
    ]


def build(*words: str) -> int:
    return main(["data", "build", *words])


def summary(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    return json.loads(line), said.err


def test_an_estimate_then_a_run(
    dense: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert build(*dense, "--dry-run", "--json", "--prices", "1,10") == 0
    planned, _ = summary(capsys)
    assert (planned["num_videos"], planned["num_missing"]) == (2, 1)
    assert planned["cost"] > 0
    assert not planned["is_measured"]
    with OpenAIServer(model) as server:
        ask = ["--captioner", f"openai:watcher@{server.url}", "--prices", "1,10"]
        assert build(*dense, *ask, "--out", out, "--decoders", "1", "--json") == 0
        made, told = summary(capsys)
        num_sent = len(server.bodies)
        assert build(*dense, *ask, "--out", out, "--json") == 0
        assert summary(capsys)[0] == made
        assert len(server.bodies) == num_sent
        assert build(*dense, *ask, "--out", out, "--seed", "1") == 2
        assert "another seed: 0, now 1" in capsys.readouterr().err
        assert build(*dense, "--dry-run", "--out", out) == 0
        assert "measured on what is done" in capsys.readouterr().out
    assert (made["num_rows"], made["rejected"]) == (1, {"video: missing": 1})
    assert made["spent"]["num_requests"] == made["num_requests"] == num_sent
    assert made["cost"] == pytest.approx(made["spent"]["cost"])
    assert "left out: " in told
    assert "videos: 2 of 2" in told
    assert f"{num_sent} requests" in told
    row = json.loads(Path(out, "rows.jsonl").read_text())
    assert row["source"] == "ActivityNet Captions"


def test_prompts_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build("--write-prompts", str(tmp_path / "p")) == 0
    assert str(tmp_path / "p" / "merge.txt") in capsys.readouterr().out
    assert build("--write-prompts", str(tmp_path / "p")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--out is missing"),
        (["--out", "x"], "--captioner is missing"),
        (["--out", "x", "--captioner", "gpt"], "--captioner must be openai:MODEL@URL"),
        (
            ["--out", "x", "--writer", "openai:m@http://localhost:1", "--max-cost", "1"],
            "needs the price of m",
        ),
        (["--frame-interval", "0", "--out", "x"], "--frame-interval"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--videos", "/nowhere"], "--videos /nowhere is no folder"),
        (["--source", ""], "--source is missing; give one of"),
        (["--dry-run", "--prices", "1"], "IN,OUT or MODEL=IN,OUT"),
        (["--dry-run", "--prompts", "/nowhere"], "cannot read the prompt /nowhere/caption.txt"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], said: str, dense: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(*dense, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
