"""Laws of a run directory: what a run was started with is what it goes on with."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

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


def test_the_settings_of_a_run_are_written_in_the_order_of_their_fields(config: GrpoConfig, tmp_path: Path) -> None:
    """As in the help and the docs: related ones together, the model first."""
    RunDirectory.open(tmp_path / "run", config, resume=False)
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert list(written) == [field.name for field in fields(GrpoConfig)]
    assert list(written["sampling"]) == [field.name for field in fields(config.sampling)]
    assert list(written) != sorted(written)  # control
