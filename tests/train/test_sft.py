"""Laws of a run: killed and resumed equals never killed, nothing is lost or started over by
mistake."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oncue.data.dialogue_sources import RowSource
from oncue.errors import ConfigError, DataError, DialogueError, RunStoppedError
from oncue.model.loading import load_model
from oncue.train import checkpoint
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.sft import loop as sft
from oncue.train.sft.loop import train_sft
from oncue.train.sft.settings import SftConfig, Stage
from train_support import SHAPES, metrics, same_weights, silent, small_config, weights


class Killed(BaseException):
    """The process is gone."""


def train_until_killed(
    config: SftConfig, out: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A run whose step of that number (from 1) never ends."""
    stock, left = sft.accumulate_gradient, [number]

    def accumulate(*args):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return stock(*args)

    with monkeypatch.context() as patch:
        patch.setattr(sft, "accumulate_gradient", accumulate)
        with pytest.raises(Killed):
            train_sft(config, out, resume=False, report=silent)


@pytest.fixture(scope="module")
def whole(tiny_model_folder, tmp_path_factory):
    """A run of six steps that nothing disturbed: its directory and its final model."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, train_sft(small_config(tiny_model_folder), out, resume=False, report=silent)


@pytest.fixture(scope="module")
def late(tiny_model_folder, tmp_path_factory):
    """A run that was killed in its last step. Read only."""
    out = tmp_path_factory.mktemp("late") / "run"
    with pytest.MonkeyPatch.context() as patch:
        train_until_killed(small_config(tiny_model_folder), out, patch, 6)
    return out


# in the middle of a stage, in the first step of the next stage, before the first checkpoint
@pytest.mark.parametrize("number", [4, 5, 2])
def test_killed_and_resumed_equals_never_killed(
    whole, tiny_model_folder, tmp_path, monkeypatch, number
):
    out, final = whole
    config = small_config(tiny_model_folder)
    train_until_killed(config, tmp_path / "run", monkeypatch, number)
    resumed = train_sft(config, tmp_path / "run", resume=True, report=silent)
    assert resumed.name == final.name == "step_000006"
    assert same_weights(resumed, final)
    assert metrics(tmp_path / "run") == metrics(out)
    states = [
        torch.load(path / "trainer.pt", weights_only=True)["optimizer"]["state"]
        for path in (resumed, final)
    ]
    assert all(
        torch.equal(states[0][k]["exp_avg_sq"], states[1][k]["exp_avg_sq"]) for k in states[1]
    )


def test_a_data_worker_killed_while_a_checkpoint_is_written_is_told_of(
    whole, tiny_model_folder, tmp_path, monkeypatch
):
    config = small_config(tiny_model_folder, num_workers=1)

    def save_model(*_):
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(30)  # torch interrupts it

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_model", save_model)
        with pytest.raises(
            RunStoppedError, match="a process that makes training data was ended from outside"
        ):
            train_sft(config, tmp_path / "run", resume=False, report=silent)
    assert same_weights(train_sft(config, tmp_path / "run", resume=True, report=silent), whole[1])


def test_another_seed_is_another_run(whole, tiny_model_folder, tmp_path):
    other = train_sft(
        small_config(tiny_model_folder, seed=1), tmp_path / "run", resume=False, report=silent
    )
    assert not same_weights(other, whole[1])


def test_workers_and_recomputed_activations_change_nothing_that_matters(
    whole, tiny_model_folder, tmp_path
):
    out, final = whole
    config = small_config(tiny_model_folder, num_workers=1, gradient_checkpointing=True)
    other = train_sft(config, tmp_path / "run", resume=False, report=silent)
    mine, theirs = weights(other), weights(final)
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-5) for name in theirs)
    assert [row["step"] for row in metrics(tmp_path / "run")] == [
        row["step"] for row in metrics(out)
    ]


def test_training_trains(whole, tiny_model_folder):
    before, after = weights(tiny_model_folder), weights(whole[1])
    assert not any(
        torch.equal(before[name], after[name])
        for name in before
        if name.endswith("mlp.up_proj.weight")
    )


def test_every_family_trains_in_all_its_parts(family_folder, tmp_path):
    config = small_config(
        family_folder,
        stages=(Stage("one", SHAPES, 2, 2),),
        gradient_checkpointing=True,
        weight_decay=0.0,
    )
    final = train_sft(config, tmp_path / "run", resume=False, report=silent)
    before, after = weights(family_folder), weights(final)
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    loaded = load_model(final, device="cpu")
    assert (
        loaded.model.config.model_type
        == json.loads((family_folder / "config.json").read_text())["model_type"]
    )


def test_resuming_outlives_the_checkpoint_it_started_from(tiny_model_folder, tmp_path, monkeypatch):
    config = small_config(tiny_model_folder, save_every_steps=1, keep_checkpoints=1)
    train_until_killed(config, tmp_path, monkeypatch, 3)
    final = train_sft(config, tmp_path, resume=True, report=silent)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000006"]
    assert (final / "tokenizer.json").read_bytes() == (
        tiny_model_folder / "tokenizer.json"
    ).read_bytes()


def test_the_run_directory_is_complete_and_the_model_loads(whole):
    out, final = whole
    assert {"config.yaml", "env.json", "metrics.jsonl", "report.html", "README.md"} < {
        p.name for p in out.iterdir()
    }
    assert latest_checkpoint(out / "checkpoints") == final
    assert '<g class="mean"><path' in (out / "report.html").read_text()
    assert str(final) in (out / "README.md").read_text()
    loaded = load_model(final, device="cpu")
    assert torch.equal(
        loaded.model.state_dict()["lm_head.weight"], weights(final)["lm_head.weight"]
    )


def test_a_finished_run_is_resumed_without_a_step(whole, tiny_model_folder):
    out, final = whole
    before = (final / "trainer.pt").stat().st_mtime_ns
    reported: list = []
    assert (
        train_sft(small_config(tiny_model_folder), out, resume=True, report=reported.append)
        == final
    )
    assert not reported
    assert (final / "trainer.pt").stat().st_mtime_ns == before


def test_a_run_is_not_started_over(whole, tiny_model_folder):
    with pytest.raises(ConfigError, match="already holds a run; give --resume auto"):
        train_sft(small_config(tiny_model_folder), whole[0], resume=False, report=silent)


def test_a_start_that_failed_may_be_repeated(tiny_model_folder, tmp_path):
    with pytest.raises(ValueError, match="no model folder"):
        train_sft(small_config(tmp_path / "nowhere"), tmp_path / "run", resume=False, report=silent)
    one_step = small_config(tiny_model_folder)
    one_step = replace(one_step, stages=(replace(one_step.stages[0], num_steps=1),))
    assert train_sft(one_step, tmp_path / "run", resume=False, report=silent).name == "step_000001"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 5e-4}, "learning_rate was 0.001, now 0.0005"),
        ({"seed": 3}, "seed was 0, now 3"),
    ],
)
def test_resuming_with_another_setting_names_it(whole, tiny_model_folder, changes, named):
    with pytest.raises(ConfigError, match=named):
        train_sft(small_config(tiny_model_folder, **changes), whole[0], resume=True, report=silent)


def test_resuming_with_another_stage_names_its_setting(whole, tiny_model_folder):
    config = small_config(tiny_model_folder)
    changed = replace(config, stages=(config.stages[0], replace(config.stages[1], batch_size=3)))
    with pytest.raises(ConfigError, match=r"stages\.1\.batch_size was 2, now 3\. Resume"):
        train_sft(changed, whole[0], resume=True, report=silent)


def test_how_often_a_run_writes_may_change(whole, tiny_model_folder):
    config = small_config(
        tiny_model_folder, log_every_steps=1, save_every_steps=5, keep_checkpoints=1
    )
    assert train_sft(config, whole[0], resume=True, report=silent) == whole[1]


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_numbers_that_are_not_finite_stop_the_run_and_leave_the_checkpoint(
    whole, tiny_model_folder, tmp_path, monkeypatch, broken
):
    config = small_config(tiny_model_folder)
    steps: list[int] = []

    def break_in_third(stock, bad):
        def wrapped(*args, **options):
            value = stock(*args, **options)
            steps.append(1)
            return value * bad if len(steps) == 3 else value

        return wrapped

    with monkeypatch.context() as patch:
        if broken == "loss":
            patch.setattr(
                sft, "accumulate_gradient", break_in_third(sft.accumulate_gradient, float("nan"))
            )
        else:
            stock = torch.nn.utils.clip_grad_norm_
            patch.setattr(torch.nn.utils, "clip_grad_norm_", break_in_third(stock, float("inf")))
        with pytest.raises(
            RuntimeError, match=r"step 3 has loss .*step_000002 and a lower --learning-rate"
        ):
            train_sft(config, tmp_path, resume=False, report=silent)
    saved = latest_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.name == "step_000002"
    assert all(torch.isfinite(t).all() for t in weights(saved).values())
    assert same_weights(train_sft(config, tmp_path, resume=True, report=silent), whole[1])


def test_a_metrics_line_that_was_cut_is_written_again(tiny_model_folder, tmp_path, monkeypatch):
    config = small_config(tiny_model_folder, log_every_steps=1)
    train_until_killed(config, tmp_path, monkeypatch, 4)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    train_sft(config, tmp_path, resume=True, report=silent)
    assert [row["step"] for row in metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 1.0}', '{"step": "4"}'])
def test_a_metrics_line_that_is_broken_is_named(tiny_model_folder, tmp_path, monkeypatch, line):
    config = small_config(tiny_model_folder, log_every_steps=1)
    train_until_killed(config, tmp_path, monkeypatch, 2)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2"):
        train_sft(config, tmp_path, resume=True, report=silent)


@pytest.mark.parametrize("left", [0, 1000, -100])
def test_a_checkpoint_that_was_cut_says_what_to_do(whole, late, tiny_model_folder, tmp_path, left):
    config = small_config(tiny_model_folder)
    shutil.copytree(late, tmp_path, dirs_exist_ok=True)
    newest = latest_checkpoint(tmp_path / "checkpoints")
    state = newest / "trainer.pt"
    state.write_bytes(state.read_bytes()[:left])
    with pytest.raises(
        ConfigError, match=r"trainer\.pt cannot be read .*remove the folder .*step_000004"
    ):
        train_sft(config, tmp_path, resume=True, report=silent)
    shutil.rmtree(newest)
    assert same_weights(train_sft(config, tmp_path, resume=True, report=silent), whole[1])


def test_what_is_wrong_with_a_row_is_said_in_one_line_from_a_worker_too(
    tiny_model_folder, tmp_path
):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": [{"role": "robot", "content": "hm"}]}) + "\n")
    config = small_config(
        tiny_model_folder, stages=(Stage("rows", RowSource((rows,)), 1),), num_workers=1
    )
    with pytest.raises(DialogueError, match=r"'role' must be .* got 'robot'") as caught:
        train_sft(config, tmp_path / "run", resume=False, report=silent)
    assert "Traceback" not in str(caught.value)
    assert "row 1 of" in str(caught.value)


def test_what_was_learned_before_a_row_that_cannot_be_used_is_kept(
    tiny_model_folder, tmp_path, monkeypatch
):
    step_batches = sft.step_batches

    def breaks(*args):
        batches = step_batches(*args)
        yield from (next(batches) for _ in range(3))
        raise DataError("row 7 is broken")

    monkeypatch.setattr(sft, "step_batches", breaks)
    config = small_config(tiny_model_folder, save_every_steps=100)
    with pytest.raises(DataError, match="row 7"):
        train_sft(config, tmp_path / "run", resume=False, report=silent)
    assert latest_checkpoint(tmp_path / "run" / "checkpoints").name == "step_000003"


def test_an_optimiser_state_that_lacks_something_says_so(late, tiny_model_folder, tmp_path):
    config = small_config(tiny_model_folder)
    shutil.copytree(late, tmp_path, dirs_exist_ok=True)
    torch.save({"step": 4}, latest_checkpoint(tmp_path / "checkpoints") / "trainer.pt")
    with pytest.raises(
        ConfigError, match=r"trainer\.pt lacks 'optimizer'; start a new run with --model"
    ):
        train_sft(config, tmp_path, resume=True, report=silent)


def test_checkpoints_carry_the_frame_size_they_were_trained_with(tiny_model_folder, tmp_path):
    config = small_config(tiny_model_folder, max_pixels=6 * 28 * 28)
    config = replace(config, stages=(replace(config.stages[0], num_steps=1),))
    final = train_sft(config, tmp_path, resume=False, report=silent)
    assert load_model(final, device="cpu").renderer.frame_processor.max_pixels == 6 * 28 * 28
    assert (
        load_model(tiny_model_folder, device="cpu").renderer.frame_processor.max_pixels
        == 16 * 28 * 28
    )


def test_checkpoints_say_the_decision_format_they_were_trained_in(
    whole, tiny_model_folder, tmp_path
):
    config = small_config(tiny_model_folder, decision_format="token")
    config = replace(config, stages=(replace(config.stages[0], num_steps=1),))
    final = train_sft(config, tmp_path / "token", resume=False, report=silent)
    assert load_model(final, device="cpu").renderer.decision_name == "token"
    assert load_model(whole[1], device="cpu").renderer.decision_name == "text"
    assert not (whole[1] / "oncue.json").exists()
    with pytest.raises(ConfigError, match="decision_format was 'token', now None"):
        train_sft(
            replace(config, decision_format=None), tmp_path / "token", resume=True, report=silent
        )
    goes_on = train_sft(
        replace(config, model=str(final), decision_format=None),
        tmp_path / "on",
        resume=False,
        report=silent,
    )
    assert load_model(goes_on, device="cpu").renderer.decision_name == "token"
    back = train_sft(
        replace(config, model=str(final), decision_format="text"),
        tmp_path / "back",
        resume=False,
        report=silent,
    )
    assert not (back / "oncue.json").exists()


def test_training_in_the_token_format_can_be_resumed(tiny_model_folder, tmp_path, monkeypatch):
    config = small_config(tiny_model_folder, decision_format="token", silence_weight=0.5)
    never_killed = train_sft(config, tmp_path / "whole", resume=False, report=silent)
    train_until_killed(config, tmp_path / "run", monkeypatch, 5)
    assert same_weights(
        train_sft(config, tmp_path / "run", resume=True, report=silent), never_killed
    )


def test_a_new_model_is_built_for_its_decision_format(tiny_model_folder, tmp_path):
    asked = []

    def build(folder: Path, seed: int, decision_format: str) -> Path:
        asked.append((seed, decision_format))
        return Path(shutil.copytree(tiny_model_folder, folder))

    for name in (None, "token"):
        config = small_config("new", decision_format=name)
        config = replace(config, stages=(replace(config.stages[0], num_steps=1),))
        train_sft(config, tmp_path / str(name), resume=False, report=silent, build_model=build)
    assert asked == [(0, "text"), (0, "token")]


def test_a_new_model_needs_somebody_to_build_it(tmp_path):
    with pytest.raises(ConfigError, match="--recipe mini"):
        train_sft(small_config("new"), tmp_path, resume=False, report=silent)
