"""A run goes on from its folder alone, for longer where asked, and never as another run."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oncue import cli
from oncue.commands.train import TrainSft
from oncue.commands.training import RunOptions
from oncue.data.dialogue_sources import RowSource
from oncue.errors import ChangedDataWarning, ConfigError
from oncue.recipes import grpo_recipe
from oncue.train.resuming import change_settings
from oncue.train.run_dir import RunDirectory, stored_settings
from oncue.train.sft import loop as sft
from oncue.train.sft.loop import train_sft
from oncue.train.sft.settings import SftConfig, Stage, learning_rate_at
from train_support import SHAPES, metrics, same_weights, silent, small_config

STEADY = {
    "warmup_frac": 0.0,
    "final_learning_rate_frac": 1.0,
    "log_every_steps": 2,
}  # whatever the number of steps
GRPO = (
    *("train", "grpo", "--recipe", "mini", "--final-learning-rate-frac", "1", "--num-steps", "2"),
    *(
        "--prompts-per-step",
        "2",
        "--group-size",
        "2",
        "--examples.num-turns",
        "3",
        "3",
        "--num-workers",
        "0",
    ),
    *("--examples.history-turns", "0", "2", "--sampling.max-new-tokens", "4", "--device", "cpu"),
)


def sft_words(run: Path, *more: str) -> list[str]:
    return ["train", "sft", "--out", str(run), "--resume", "auto", *more]


def longer(config: SftConfig, num_steps: int) -> SftConfig:
    return replace(
        config, stages=(config.stages[0], replace(config.stages[1], num_steps=num_steps))
    )


@pytest.fixture(scope="module")
def finished(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps at a steady rate. Copy it before changing anything."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "finished"
    train_sft(small_config(tiny_model_folder, **STEADY), out, resume=False, report=silent)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


class Killed(Exception):
    """The process is gone."""


@pytest.mark.parametrize(
    "number", [1, 5]
)  # the step that never ends: before the first checkpoint, and after two
def test_a_killed_run_goes_on_from_its_folder_alone(
    finished: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    stock, left = sft.accumulate_gradient, [number]

    def accumulate(*args: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return stock(*args)

    with monkeypatch.context() as patch:
        patch.setattr(sft, "accumulate_gradient", accumulate)
        with pytest.raises(Killed):
            train_sft(
                small_config(tiny_model_folder, **STEADY),
                tmp_path / "run",
                resume=False,
                report=silent,
            )
    assert cli.main(sft_words(tmp_path / "run")) == 0
    last = "checkpoints/step_000006"
    assert same_weights(tmp_path / "run" / last, finished / last)
    assert metrics(tmp_path / "run") == metrics(finished)


def test_a_finished_run_that_gets_more_steps_is_the_longer_run(
    run: Path, tiny_model_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    config = longer(small_config(tiny_model_folder, **STEADY), 4)
    whole = train_sft(config, tmp_path / "whole", resume=False, report=silent)
    assert cli.main(sft_words(run, "--stages.1.num-steps", "4")) == 0
    assert (
        f"{run} goes on from step 6 to step 8, not 6; the learning rate" in capsys.readouterr().err
    )
    assert same_weights(run / "checkpoints" / whole.name, whole)
    shared = [
        {k: v for k, v in row.items() if k != "total_steps"} for row in metrics(tmp_path / "whole")
    ]
    assert [{k: v for k, v in row.items() if k != "total_steps"} for row in metrics(run)] == shared
    assert stored_settings(run, SftConfig) == config
    assert "8 steps" in (run / "README.md").read_text()
    assert cli.main(sft_words(run)) == 0  # it now has eight steps
    assert "goes on" not in capsys.readouterr().err


def test_the_rate_of_a_longer_run_follows_its_own_schedule(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    config = small_config(
        tiny_model_folder, stages=(Stage("one", SHAPES, 2, 2),), log_every_steps=1
    )
    train_sft(config, tmp_path / "run", resume=False, report=silent)
    assert cli.main(sft_words(tmp_path / "run", "--stages.0.num-steps", "4")) == 0
    rates = [row["learning_rate"] for row in metrics(tmp_path / "run")]
    assert rates[:2] == [learning_rate_at(config, step, 2, 1.0) for step in (0, 1)]
    assert rates[2:] == [learning_rate_at(config, step, 4, 1.0) for step in (2, 3)]


def test_a_run_with_steps_left_is_not_finished(run: Path, tiny_model_folder: Path) -> None:
    assert RunDirectory(run).is_finished
    config = small_config(tiny_model_folder, **STEADY)
    assert change_settings(run, config) is None
    assert RunDirectory(run).is_finished
    assert change_settings(run, longer(config, 3)) is not None
    assert not RunDirectory(run).is_finished


def test_reinforcement_learning_goes_on_from_its_folder_for_longer(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    runs = {name: tmp_path / name for name in ("run", "whole")}
    for name, steps in (("run", "2"), ("whole", "3")):
        words = [
            *GRPO,
            "--model",
            str(tiny_model_folder),
            "--out",
            str(runs[name]),
            "--num-steps",
            steps,
        ]
        assert cli.main(words) == 0
    words = ["train", "grpo", "--out", str(runs["run"]), "--resume", "auto"]
    assert cli.main([*words, "--num-steps", "1"]) == 2
    assert "has 2 steps behind it and cannot stop at 1" in capsys.readouterr().err
    assert cli.main([*words, "--num-steps", "3"]) == 0
    assert [row["reward"] for row in metrics(runs["run"])] == [
        row["reward"] for row in metrics(runs["whole"])
    ]
    last = "checkpoints/step_000003"
    assert same_weights(runs["run"] / last, runs["whole"] / last)


def edited(run: Path, old: str, new: str) -> None:
    path = run / "config.yaml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--seed", "1"), "seed was 0, now 1"),
        (("--recipe", "mini"), "model was .*now 'new'.*without --recipe"),
        (
            ("--stages.1.num-steps", "1"),
            "has 6 steps behind it and cannot stop at 5; give at least 6",
        ),
        (
            ("--stages.0.num-steps", "5"),
            "stages.0.num_steps was 4, now 5; .*would belong to other stages",
        ),
        (("--stages.0.num-steps", "5", "--seed", "1"), "seed was 0, now 1"),
        (
            ("--stages.1.batch-size", "3", "--stages.1.num-steps", "9"),
            "stages.1.batch_size was 2, now 3",
        ),
    ],
)
def test_what_would_be_another_run_is_refused(
    finished: Path, capsys: Any, more: tuple[str, ...], told: str
) -> None:
    before = {
        name: (finished / name).read_bytes()
        for name in ("config.yaml", "metrics.jsonl", "README.md")
    }
    drawn = (finished / "report.html").stat().st_mtime_ns
    assert cli.main(sft_words(finished, *more)) == 2
    assert_told(capsys, told)
    assert {name: (finished / name).read_bytes() for name in before} == before
    assert (finished / "report.html").stat().st_mtime_ns == drawn


def test_a_run_that_is_refused_for_its_data_stays_as_it_was(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "run"
    rows.write_text("one\n")
    config = SftConfig("x", stages=(Stage("all", RowSource((rows,)), 1, 2),))
    run = RunDirectory.open(out, config, resume=False)
    run.log({"step": 2, "loss": 1.0})
    run.finish(config, run.checkpoints / "step_000002", 2)
    rows.write_text("another\n")
    more = replace(config, stages=(replace(config.stages[0], num_steps=4),))
    with pytest.raises(ConfigError, match=r"rows\.jsonl: row 1 differs"):
        change_settings(out, more)
    assert run.is_finished
    assert stored_settings(out, SftConfig) == config
    with pytest.warns(ChangedDataWarning, match="row 1 differs"):
        assert change_settings(out, more, allow_changed_data=True)
    assert not run.is_finished
    assert stored_settings(out, SftConfig) == more


def assert_told(capsys: Any, told: str) -> None:
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(told, line), line


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "seed: 0",
            "seed: 0\nnew_thing: 3",
            "config.yaml: new_thing: unknown setting.* with oncue 99.0, and this is",
        ),
        ("seed: 0", "seed: zero", "config.yaml: seed: expected a whole number, got 'zero'"),
        ("seed: 0", "seed: [", "config.yaml cannot be read"),
        ("stages:", "- stages:", "config.yaml cannot be read"),
    ],
)
def test_settings_that_were_broken_are_named(
    run: Path, capsys: Any, old: str, new: str, told: str
) -> None:
    edited(run, old, new)
    versions = run / "env.json"
    versions.write_text(versions.read_text().replace('"oncue": "', '"oncue": "99.0", "was": "'))
    assert cli.main(sft_words(run)) == 2
    assert_told(capsys, told)


def test_a_run_of_the_other_verb_is_named(finished: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["train", "grpo", "--out", str(finished), "--resume", "auto"]
    for more in ([], ["--recipe", "mini"]):
        assert cli.main([*words, *more]) == 2
        assert_told(capsys, f"{finished} is a run of oncue train sft; resume it with that")
    RunDirectory.open(tmp_path, grpo_recipe("mini"), resume=False)
    assert cli.main(sft_words(tmp_path)) == 2
    assert_told(capsys, "is a run of oncue train grpo")


def test_without_a_run_or_a_recipe_both_are_named(
    finished: Path, tmp_path: Path, capsys: Any
) -> None:
    assert cli.main(sft_words(tmp_path)) == 2
    assert_told(capsys, f"no run in {tmp_path} to resume; .*--out.*--recipe")
    assert not any(tmp_path.iterdir())
    assert cli.main(["train", "sft", "--out", str(tmp_path)]) == 2
    assert_told(capsys, "no recipe is given; name one with --recipe, such as mini$")
    assert cli.main(["train", "sft", "--out", str(finished)]) == 2
    assert_told(capsys, f"or --resume auto to go on with the run in {finished}")


def test_how_often_a_run_writes_is_kept_for_the_next_time(run: Path) -> None:
    assert cli.main(sft_words(run, "--save-every-steps", "7")) == 0
    assert stored_settings(run, SftConfig).save_every_steps == 7
    assert RunDirectory(run).is_finished


def test_curves_are_drawn_as_the_run_goes(tiny_model_folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "run" / "report.html"
    drawn: list[str] = []

    def look(row: dict[str, Any]) -> None:
        drawn.append(report.read_text())
        if row["step"] == 2:
            os.utime(report, (0, 0))  # as if it were long ago
        if row["step"] == 4:
            raise KeyboardInterrupt

    config = small_config(tiny_model_folder, log_every_steps=1, save_every_steps=100)
    command = TrainSft(RunOptions(tmp_path / "run"), config)
    command.report = look  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        command.run()
    assert [_last_step(page) for page in drawn] == [1, 1, 3, 3]
    assert _last_step(report.read_text()) == 4


def _last_step(page: str) -> int:
    """The step up to which the page says that it is drawn."""
    return int(page.split("Drawn up to step ")[1].split(".")[0])
