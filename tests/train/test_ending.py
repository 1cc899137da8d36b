"""What ends a run before its last step loses no finished step, and says in one line where they
are."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_runs import Wordy
from parallel_runs import config as grpo_config

from oncue import cli
from oncue.engine.encoder_cache import CachedFrame
from oncue.engine.kv_cache import KVPool
from oncue.engine.model_runner import ModelRunner
from oncue.errors import RunStoppedError
from oncue.scoring.score import Score
from oncue.train import checkpoint, forward
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.rl import policy_trainer
from oncue.train.rl.loop import train_grpo
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.sft import loop as sft
from oncue.train.sft.loop import train_sft
from oncue.train.sft.settings import SftConfig, Stage
from oncue.types import Episode
from train_support import SHAPES, metrics, same_weights, silent, small_config


def config(model: Path, **changes: Any) -> SftConfig:
    """Three steps of two micro-batches, none of which is due to be saved but the last."""
    plain = small_config(model, stages=(Stage("one", SHAPES, 2, 3),), save_every_steps=100)
    return replace(plain, **changes)


def rl_config(model: Path, **changes: Any) -> Any:
    small: dict[str, Any] = {
        "loss": LossSettings(),
        "num_steps": 3,
        "prompts_per_step": 2,
        "group_size": 2,
        "num_minibatches": 1,
        "save_every_steps": 100,
    }
    return grpo_config(model, **(small | changes))


def on_call(number: int, act: Callable[[], Any], stock: Callable[..., Any]) -> Callable[..., Any]:
    """`stock`, but that call number `number` (from 1) does `act` first."""
    calls: list[int] = []

    def called(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            act()
        return stock(*args, **options)

    return called


def after_two(
    finished: list[int], act: Callable[[], Any], stock: Callable[..., Any], number: int = 1
) -> Any:
    """`stock`, but that its call number `number` after two finished steps does `act` first."""
    calls: list[int] = []

    def called(*args: Any) -> Any:
        calls.append(len(finished))
        if finished and calls.count(2) == number:
            calls.append(2)  # once
            act()
        return stock(*args)

    return called


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def cuda_full() -> None:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB"
    )


def cpu_full() -> None:
    torch.empty(10**15)


def numpy_full() -> None:
    raise MemoryError(
        "Unable to allocate 7.28 TiB for an array with shape (1000000000000,) and data type float64"
    )


@pytest.fixture(scope="module")
def whole(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The final model of a supervised run that nothing ended."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    return train_sft(config(tiny_model_folder), out / "run", resume=False, report=silent)


@pytest.fixture(scope="module")
def rl_whole(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The final model of a run of reinforcement learning that nothing ended."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("rl_whole")
    return train_grpo(
        rl_config(tiny_model_folder), Wordy(), out / "run", resume=False, report=silent
    )


@pytest.fixture
def listening() -> Iterator[None]:
    """Signals a test sends to itself must not end pytest, and nohup may have left SIGHUP
    ignored."""
    found = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in found.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_step_keeps_the_steps_before_it(
    whole: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    settings = config(tiny_model_folder)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(
            sft, "trained_logits", on_call(6, send(number), forward.trained_logits)
        )  # half of step 3
        with pytest.raises(
            KeyboardInterrupt, match=r"stopped in step 3; .*step_000002, .*--resume auto"
        ):
            train_sft(settings, tmp_path, resume=False, report=silent)
    assert signal.getsignal(number) is before
    assert same_weights(train_sft(settings, tmp_path, resume=True, report=silent), whole)


@pytest.mark.usefixtures("listening")
def test_a_signal_before_the_first_step_is_finished_has_nothing_to_keep(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sft, "trained_logits", on_call(1, send(signal.SIGTERM), forward.trained_logits)
    )
    with pytest.raises(
        KeyboardInterrupt, match=r"^stopped in step 1; no step was finished, so nothing is saved$"
    ):
        train_sft(config(tiny_model_folder), tmp_path, resume=False, report=silent)
    assert latest_checkpoint(tmp_path / "checkpoints") is None


@pytest.mark.usefixtures("listening")
def test_a_signal_while_a_checkpoint_is_written_waits_for_it_and_a_second_one_does_not(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tiny_model_folder, save_every_steps=1)
    save, stop = checkpoint.save_model, send(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_model", on_call(1, stop, save))
        with pytest.raises(KeyboardInterrupt, match=r"stopped in step 2; .*step_000001"):
            train_sft(settings, tmp_path, resume=False, report=silent)
        patch.setattr(checkpoint, "save_model", on_call(1, lambda: (stop(), stop()), save))
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            train_sft(settings, tmp_path, resume=True, report=silent)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000001"]


@pytest.mark.usefixtures("listening")
def test_a_signal_to_all_processes_of_a_job_is_for_the_one_that_trains(
    whole: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As batch systems send it. A worker that ended would stop the run with an error of its own."""
    settings = config(tiny_model_folder, num_workers=1)

    def to_all() -> None:
        (worker,) = multiprocessing.active_children()
        subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)  # it looks who sends it
        worker.join(0.3)
        assert worker.is_alive()
        send(signal.SIGTERM)()

    with monkeypatch.context() as patch:
        patch.setattr(sft, "trained_logits", on_call(3, to_all, forward.trained_logits))
        with pytest.raises(KeyboardInterrupt, match=r"stopped in step 2; .*step_000001"):
            train_sft(settings, tmp_path, resume=False, report=silent)
    assert same_weights(train_sft(settings, tmp_path, resume=True, report=silent), whole)


@pytest.mark.parametrize(
    ("full", "size"), [(cuda_full, "20.00 MiB"), (cpu_full, "3.6 PiB"), (numpy_full, "7.28 TiB")]
)
def test_out_of_memory_in_the_middle_of_a_batch(
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    full: Callable[[], None],
    size: str,
) -> None:
    settings = config(tiny_model_folder, micro_batch_size=2, stages=(Stage("one", SHAPES, 4, 2),))
    with monkeypatch.context() as patch:
        patch.setattr(sft, "trained_logits", on_call(4, full, forward.trained_logits))
        with pytest.raises(RunStoppedError) as caught:
            train_sft(settings, tmp_path, resume=False, report=silent)
    said = str(caught.value)
    assert said.startswith(
        f"out of memory ({size} more could not be had) in step 2; the run is saved in {tmp_path}"
    )
    assert "lower --micro-batch-size (now 2)" in said
    assert "--gradient-checkpointing True" in said
    assert "--model " + str(tmp_path / "checkpoints" / "step_000001") in said
    less = replace(settings, micro_batch_size=1, gradient_checkpointing=True)
    assert train_sft(less, tmp_path, resume=True, report=silent).name == "step_000002"


def unread(_: dict[str, Any]) -> None:
    raise BrokenPipeError


def test_a_step_whose_report_nobody_reads_is_kept(tiny_model_folder: Path, tmp_path: Path) -> None:
    plain, out, whole = (
        config(tiny_model_folder, log_every_steps=2),
        tmp_path / "run",
        tmp_path / "whole",
    )
    with pytest.raises(BrokenPipeError):
        train_sft(plain, out, resume=False, report=unread)
    assert latest_checkpoint(out / "checkpoints") == out / "checkpoints" / "step_000002"
    train_sft(plain, out, resume=True, report=silent)
    train_sft(plain, whole, resume=False, report=silent)
    assert metrics(out) == metrics(whole)
    last = "checkpoints/step_000003"
    assert same_weights(out / last, whole / last)


def test_a_step_of_rollouts_whose_report_nobody_reads_is_kept(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BrokenPipeError):
        train_grpo(rl_config(tiny_model_folder), Wordy(), tmp_path, resume=False, report=unread)
    assert latest_checkpoint(tmp_path / "checkpoints") == tmp_path / "checkpoints" / "step_000001"


@pytest.mark.parametrize("place", ["forward", "optimiser"])
def test_out_of_memory_in_the_first_step_has_nothing_to_keep(
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    place: str,
) -> None:
    if place == "forward":
        monkeypatch.setattr(sft, "trained_logits", on_call(1, cuda_full, forward.trained_logits))
    else:
        monkeypatch.setattr(
            torch.optim.AdamW, "step", on_call(1, cuda_full, torch.optim.AdamW.step)
        )
    words = [
        "train",
        "sft",
        "--recipe",
        "mini",
        "--model",
        str(tiny_model_folder),
        "--out",
        str(tmp_path / "run"),
    ]
    small = ["--stages.0.batch-size", "1", "--num-workers", "0", "--device", "cpu"]
    assert cli.main([*words, *small]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "oncue: out of memory (20.00 MiB more could not be had) in step 1; no step was finished"
    )
    assert "--max-pixels" in line
    assert latest_checkpoint(tmp_path / "run" / "checkpoints") is None


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("while_", ["judging", "updating", "rolling out"])
def test_reinforcement_learning_stops_at_once_and_resumes(
    rl_whole: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    while_: str,
) -> None:
    settings, stop = rl_config(tiny_model_folder), send(signal.SIGTERM)

    class Slow(Wordy):
        num_asked = 0

        async def __call__(self, episode: Episode) -> Score:
            self.num_asked += 1
            if while_ == "judging" and self.num_asked == 9:  # in step 3
                stop()
                await asyncio.sleep(3600)
            return await super().__call__(episode)

    finished: list[int] = []
    with monkeypatch.context() as patch:
        if while_ == "updating":
            patch.setattr(
                policy_trainer,
                "collate_policy",
                after_two(finished, stop, policy_trainer.collate_policy),
            )
        if while_ == "rolling out":
            patch.setattr(ModelRunner, "forward", after_two(finished, stop, ModelRunner.forward))
        with pytest.raises(KeyboardInterrupt, match=r"stopped in step 3; .*step_000002"):
            train_grpo(
                settings,
                Slow(),
                tmp_path / "run",
                resume=False,
                report=lambda row: finished.append(row["step"]),
            )
    assert same_weights(
        train_grpo(settings, Wordy(), tmp_path / "run", resume=True, report=silent), rl_whole
    )


@pytest.mark.parametrize("num_updates", [1, 2])
def test_out_of_memory_in_an_update(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_updates: int
) -> None:
    """Between two updates of a step the weights are those of no step, and must not be saved as
    such."""
    settings = rl_config(tiny_model_folder, num_minibatches=num_updates, lookahead=1)
    finished: list[int] = []
    # two micro-batches in each step, one after the other or each an update
    full = after_two(finished, cuda_full, policy_trainer.collate_policy, number=2)
    monkeypatch.setattr(policy_trainer, "collate_policy", full)
    with pytest.raises(RunStoppedError) as caught:
        train_grpo(
            settings,
            Wordy(),
            tmp_path,
            resume=False,
            report=lambda row: finished.append(row["step"]),
        )
    said = str(caught.value)
    assert "out of memory (20.00 MiB more could not be had) in step 3; " in said
    assert "lower --micro-batch-size (now 2) or lower --lookahead (now 1)" in said
    assert ("with --resume auto; or start another --out with --model" in said) == (num_updates == 1)
    saved = latest_checkpoint(tmp_path / "checkpoints")
    assert (saved.name if saved else None) == ("step_000002" if num_updates == 1 else None)


def test_out_of_memory_in_a_rollout_is_that_of_the_run(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        cuda_full()

    monkeypatch.setattr(ModelRunner, "forward", full)
    with pytest.raises(RunStoppedError, match=r"^out of memory .* in step 1; no step was finished"):
        train_grpo(rl_config(tiny_model_folder), Wordy(), tmp_path, resume=False, report=silent)


def test_memory_of_rollouts_is_free_before_the_update(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values, and the vision tokens of frames."""
    made: list[Any] = []  # references to such tensors that do not keep them
    held: list[int] = []
    keep, encoded, update = KVPool._keep, CachedFrame.encoded, PolicyTrainer.update

    def keeps(pool: KVPool, states: torch.Tensor) -> None:
        made.append(weakref.ref(states))
        keep(pool, states)

    def encodes(frame: CachedFrame, features: torch.Tensor) -> None:
        made.append(weakref.ref(features))
        encoded(frame, features)

    def looks(trainer: PolicyTrainer, *args: Any) -> dict[str, float]:
        gc.collect()
        held.append(sum(reference() is not None for reference in made))
        return update(trainer, *args)

    monkeypatch.setattr(KVPool, "_keep", keeps)
    monkeypatch.setattr(CachedFrame, "encoded", encodes)
    monkeypatch.setattr(PolicyTrainer, "update", looks)
    train_grpo(
        rl_config(tiny_model_folder, num_steps=2), Wordy(), tmp_path, resume=False, report=silent
    )
    assert made
    assert held == [0, 0]
