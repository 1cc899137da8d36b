"""What a run will cost is said before it starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from train_support import SHAPES, small_config

from oncue.cli import main
from oncue.train.plan import plan_stages
from oncue.train.settings import Stage
from oncue.train.sources import RowSource


def test_a_plan_counts_steps_tokens_and_cuts(tiny_model_folder):
    wide = list(plan_stages(small_config(tiny_model_folder), str(tiny_model_folder)))
    assert [line.split(":")[0] for line in wide] == ["one", "two"]
    assert "4 steps of 2 dialogues" in wide[0]
    assert "0 would lose" in wide[0]
    found = re.search(r"have (\d+) to (\d+) tokens", wide[0])
    assert found is not None
    assert int(found[1]) < int(found[2])
    tight = small_config(tiny_model_folder, max_tokens=int(found[2]) - 1)
    line = next(plan_stages(tight, str(tiny_model_folder)))
    assert "0 would lose" not in line
    assert f"the limit is {int(found[2]) - 1}" in line


def test_a_plan_without_the_model_or_the_data_says_so():
    rows = Stage("rows", RowSource((Path("gone.jsonl"),)), 2)
    lines = list(plan_stages(small_config("x", stages=(Stage("w", SHAPES, 2, 3), rows)), "no/such/model"))
    assert "tokens are not counted" in lines[0]
    assert lines[1] == "w: 3 steps of 2 dialogues"
    assert "no training file gone.jsonl" in lines[2]


def test_a_dry_run_writes_nothing(tmp_path, tiny_model_folder, capsys):
    flags = ["--recipe", "mini", "--out", str(tmp_path / "run"), "--model", str(tiny_model_folder), "--dry-run"]
    assert main(["train", "sft", *flags, "--stages.0.num-steps", "12", "--stages.0.source.placement", "spread"]) == 0
    said = capsys.readouterr()
    assert "changes: 12 steps" in said.err
    assert "num_steps: 12" in said.out
    assert "placement: spread" in said.out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--recipe", "maxi"], "mini, mini-more, mini-late, mmduet2-3b"),
        (["--recipe", "mini", "--learning-rate", "-1"], "learning_rate must be a positive number"),
        (["--recipe", "mini", "--stages.0.learning-rate-scale", "nan"], "learning_rate_scale of stage 'changes' must"),
        (["--recipe", "mini", "--stages.0.source.mean-gap-s", "-1"], "mean_gap_s must be a positive number"),
        (["--recipe", "mini", "--data", "gone.jsonl"], "no training file gone.jsonl"),
        (["--recipe", "mini", "--config", "gone.yaml"], "gone.yaml"),
        (
            ["--recipe", "mini", "--data", __file__, "--stages.4.source.placement", "end"],
            "--stages.4.source.placement does nothing",
        ),
        (
            ["--recipe", "mmduet2-3b", "--data", __file__, "--stages.0.source.paths=a"],
            "--stages.0.source.paths does nothing",
        ),
    ],
)
def test_bad_flags_end_with_one_line(tmp_path, capsys, flags, said):
    assert main(["train", "sft", "--out", str(tmp_path / "run"), "--dry-run", *flags]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


def test_help_shows_the_settings_too(capsys):
    with pytest.raises(SystemExit):
        main(["train", "sft", "--recipe", "mmduet2-3b", "--help"])
    said = capsys.readouterr().out
    assert "--resume" in said
    assert "--silence-weight" in said
    assert "--stages.0.source.paths" in said
