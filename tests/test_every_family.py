"""The command line takes a model folder of every family, and says what it takes where it is given
another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.doctor import FINE, NOTED
from oncue.video.writer import write_video


def test_doctor_shows_the_model_a_turn(
    family_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--model", str(family_folder), "--device", "cpu", "--json"]) == 0
    findings = {f["name"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert findings["model"]["status"] == FINE
    assert findings["turn"]["status"] in (FINE, NOTED)  # what it says is noise


def test_watch_watches_to_the_end(
    family_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.mp4"
    write_video(clip, (np.full((64, 96, 3), 40 * (k // 5), np.uint8) for k in range(20)), 5.0)
    flags = [
        "--ask",
        "What moves?",
        "--model",
        str(family_folder),
        "--device",
        "cpu",
        "--max-new-tokens",
        "3",
    ]
    assert cli.main(["watch", str(clip), *flags, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["num_turns"], summary["stop"]) == (4, "source_ended")


def test_another_architecture_is_bad_input(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "moe")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen3_vl_moe"}))
    clip = tmp_path / "clip.mp4"
    write_video(clip, (np.zeros((64, 96, 3), np.uint8) for _ in range(5)), 5.0)
    assert cli.main(["watch", str(clip), "--ask", "What?", "--model", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'qwen3_vl_moe'; expected one of qwen2_vl, qwen2_5_vl, qwen3_vl" in line
