"""What a run will cost is said before it starts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oncue.cli import main
from oncue.data.dialogue_sources import RowSource
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.plan import plan_stages
from oncue.train.sft.settings import Stage
from oncue.train.trial import Trial, at_once_s, cost_lines
from train_support import SHAPES, small_config


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
    lines = list(
        plan_stages(small_config("x", stages=(Stage("w", SHAPES, 2, 3), rows)), "no/such/model")
    )
    assert "tokens are not counted" in lines[0]
    assert lines[1] == "w: 3 steps of 2 dialogues"
    assert "no training file gone.jsonl" in lines[2]


def test_a_dry_run_writes_nothing(tmp_path, tiny_model_folder, capsys):
    flags = [
        "--recipe",
        "mini",
        "--out",
        str(tmp_path / "run"),
        "--model",
        str(tiny_model_folder),
        "--dry-run",
    ]
    assert (
        main(
            [
                "train",
                "sft",
                *flags,
                "--stages.0.num-steps",
                "12",
                "--stages.0.source.placement",
                "spread",
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    assert "changes: 12 steps" in said.err
    assert "num_steps: 12" in said.out
    assert "placement: spread" in said.out
    assert re.search(r"time: the first step took .* tokens/s\), so the run takes about", said.err)
    assert re.search(r"disk: about .* \(3 checkpoints of .* at once\); the disk at /", said.err)
    assert not (tmp_path / "run").exists()


def test_a_run_that_cannot_start_ends_the_dry_run_with_an_exit_code(
    tmp_path, tiny_model_folder, capsys, monkeypatch
):
    row = {
        "messages": [
            {"role": "user", "content": "Hello?"},
            {"role": "assistant", "content": "Hello."},
        ]
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    words = [
        "train",
        "sft",
        "--recipe",
        "mmduet2-3b",
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
        "--device",
        "cpu",
    ]
    words += ["--num-workers", "0", "--data", str(tmp_path / "rows.jsonl")]
    fits = [*words, "--model", str(tiny_model_folder)]
    assert main(fits) == 0
    assert main([*words, "--model", str(tmp_path / "nowhere")]) == 2
    assert "tokens are not counted: there is no model folder" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr("oncue.train.trial.free_bytes", lambda _: 1000)
        assert main(fits) == 1
        assert "too little; make room" in capsys.readouterr().err.splitlines()[-1]
    with monkeypatch.context() as patch:
        patch.setattr("oncue.train.sft.loop.accumulate_gradient", lambda *_: torch.empty(10**15))
        assert main(fits) == 1
        assert (
            capsys.readouterr()
            .err.splitlines()[-1]
            .startswith("out of memory (3.6 PiB more could not be had)")
        )
    (tmp_path / "settings.yaml").write_text(
        "stages: [{name: rows, source: {paths: [gone.jsonl]}, batch_size: 1}]"
    )
    without = [*fits[:-6], "--config", str(tmp_path / "settings.yaml"), *fits[-2:]]
    assert main(without) == 2
    assert "no training file gone.jsonl" in capsys.readouterr().err
    assert main([*fits, "--max-tokens", "3"]) == 2
    assert not (tmp_path / "run").exists()


def test_time_and_disk_follow_from_the_first_step(tmp_path):
    config = GrpoConfig("x", save_every_steps=10, keep_checkpoints=2, store_every_steps=5)
    trial = Trial(seconds=30.0, num_tokens=600, checkpoint_bytes=2**30, rollout_bytes=2**20)
    time, disk = cost_lines(config, trial, 3000.0, tmp_path, num_stored=20, left_out=", and more")
    assert (
        time == "time: the first step took 30.0 s here (600 tokens, 20 tokens/s), so "
        "the run takes about 50 min, and more"
    )
    assert disk.startswith(
        "disk: about 3.0 GiB (3 checkpoints of 1.0 GiB at once, 20.0 MiB of rollouts); the disk at "
        "/"
    )
    _, few = cost_lines(replace(config, num_steps=15), trial, 15_000.0, tmp_path)
    assert "(2 checkpoints of" in few
    assert at_once_s(4.0, 3.0, 0) == 7.0
    assert at_once_s(4.0, 3.0, 1) == 4.0
    assert at_once_s(4.0, 3.0, 2) == 3.0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--recipe", "maxi"], "mini, mini-more, mini-late, mini-retrieval, mmduet2-3b"),
        (["--recipe", "mini", "--learning-rate", "-1"], "learning_rate must be a positive number"),
        (
            ["--recipe", "mini", "--stages.0.learning-rate-scale", "nan"],
            "learning_rate_scale of stage 'changes' must",
        ),
        (
            ["--recipe", "mini", "--stages.0.source.mean-gap-s", "-1"],
            "mean_gap_s must be a positive number",
        ),
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
