"""Laws of a run directory: what a run was started with is what it goes on with."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from oncue.errors import ConfigError, DataError
from oncue.recipes.mmduet2 import mmduet2_3b_grpo
from oncue.train.grpo_settings import GrpoConfig
from oncue.train.row_examples import RowExamples
from oncue.train.run_dir import RunDirectory


@pytest.fixture
def config(tmp_path: Path) -> GrpoConfig:
    path = tmp_path / "examples.jsonl"
    path.write_text('{"a": 1}\n')
    return replace(mmduet2_3b_grpo(), examples=RowExamples(paths=(path,)))


def test_a_training_file_that_was_edited_is_not_resumed_with(config: GrpoConfig, tmp_path: Path) -> None:
    folder, data = tmp_path / "run", tmp_path / "examples.jsonl"
    RunDirectory.open(folder, config, resume=False).log({"step": 1})
    RunDirectory.open(folder, config, resume=True)
    data.write_text('{"a": 2}\n')
    with pytest.raises(ConfigError, match="is not what it was when"):
        RunDirectory.open(folder, config, resume=True)
    data.write_text('{"a": 1}\n')
    RunDirectory.open(folder, config, resume=True)


def test_a_run_of_a_version_that_kept_no_digests_is_resumed(config: GrpoConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    RunDirectory.open(folder, config, resume=False).log({"step": 1})
    versions = json.loads((folder / "env.json").read_text())
    del versions["training_files"]
    (folder / "env.json").write_text(json.dumps(versions))
    RunDirectory.open(folder, config, resume=True)
    (folder / "env.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        RunDirectory.open(folder, config, resume=True)


def test_a_run_that_never_began_may_be_started_with_another_file(config: GrpoConfig, tmp_path: Path) -> None:
    RunDirectory.open(tmp_path / "run", config, resume=False)
    (tmp_path / "examples.jsonl").write_text('{"a": 2}\n')
    run = RunDirectory.open(tmp_path / "run", config, resume=False)
    run.log({"step": 1})
    RunDirectory.open(tmp_path / "run", config, resume=True)


def test_curves_of_a_long_run_are_drawn_less_often(config: GrpoConfig, tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path / "run", config, resume=False)
    report, rows = run.folder / "report.html", run.folder / "metrics.jsonl"

    def is_drawn(age_s: float) -> bool:
        """Whether a row that is logged `age_s` after the last drawing draws again."""
        then = float(int(time.time() - age_s))
        os.utime(report, (then, then))
        run.log({"step": 2})
        return report.stat().st_mtime != then

    run.log({"step": 1})
    assert report.exists()
    assert not is_drawn(0.0)
    assert is_drawn(60.0)
    rows.write_text(json.dumps({"step": 1, "long": "x" * 10_000_000}) + "\n")
    assert not is_drawn(60.0)
    assert is_drawn(600.0)
