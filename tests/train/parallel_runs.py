"""Runs that several processes share, for `test_parallel`: this module is also the program of one of
the processes."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from log_readers import fake_tensorboard

from drawn_once import curves_drawn_once
from oncue import cli
from oncue.data.examples import WorldExamples
from oncue.engine.sampling import SamplingParams
from oncue.errors import DataError
from oncue.rewards.proactive import TERMS
from oncue.scoring.score import Score
from oncue.train import parallel
from oncue.train.log_to import LogName
from oncue.train.rl import policy_trainer
from oncue.train.rl.critic_settings import CriticSettings, GaeSettings
from oncue.train.rl.loop import train_grpo
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.types import Episode, Reply

HERE = Path(__file__).parent
NUM_PROCESSES = 2


class Wordy:
    """A reward with spread whatever a random model says: the number of its letters."""

    async def __call__(self, episode: Episode) -> Score:
        total = float(sum(len(reply.text) for reply in episode.replies) % 7)
        return Score((total,), dict.fromkeys(TERMS, 0.0))


class WordyTurns(Wordy):
    """The same, earned turn by turn."""

    async def __call__(self, episode: Episode) -> Score:
        texts = [
            e.acted.action.text if isinstance(e.acted.action, Reply) and e.acted.sampled else ""
            for e in episode.exchanges
        ]
        return Score(tuple(float(len(text) % 7) for text in texts), dict.fromkeys(TERMS, 0.0))


class Strange(Wordy):
    """The same in the first process; in the others something happens, after so many episodes."""

    def __init__(self, happens: Callable[[], Score], num_before: int = 0) -> None:
        self._happens, self._num_left = happens, num_before

    async def __call__(self, episode: Episode) -> Score:
        self._num_left -= 1
        return (
            self._happens()
            if os.environ["RANK"] != "0" and self._num_left < 0
            else await super().__call__(episode)
        )


def config(model: Path, **changes: Any) -> GrpoConfig:
    """Two steps of two updates each, which two processes can share."""
    settings: dict[str, Any] = {
        "examples": WorldExamples(num_turns=(3, 3), history_turns=(0, 2), mean_gap_s=0.5),
        "num_steps": 2,
        "prompts_per_step": 4,
        "group_size": 2,
        "num_minibatches": 2,
        "sampling": SamplingParams(temperature=1.3, max_new_tokens=4),
        "loss": LossSettings(kl_coefficient=0.05),
        "learning_rate": 1e-3,
        "micro_batch_size": 2,
        "device": "cpu",
        "num_workers": 0,
        "save_every_steps": 1,
        "store_every_steps": 1,
    }
    kind = PpoConfig if "critic" in changes else GrpoConfig
    return kind(str(model), **(settings | changes))


PPO: dict[str, Any] = {
    "critic": CriticSettings("model", learning_rate=1e-3),
    "gae": GaeSettings(gamma_turn=0.9, lam=0.8),
    "loss": LossSettings(),
    "kl_in_reward": 0.05,
}


def train(
    model: Path,
    out: Path,
    reward: Wordy | None = None,
    *,
    resume: bool = False,
    log_to: Sequence[LogName] = (),
    **changes: Any,
) -> None:
    train_grpo(
        config(model, **changes),
        reward or Wordy(),
        out,
        resume=resume,
        report=lambda _: None,
        log_to=log_to,
    )


def logging_elsewhere(model: Path, out: Path) -> None:
    made = fake_tensorboard()
    sys.modules[made.__name__] = made  # of this process
    train(model, out, log_to=["tensorboard"])


@contextmanager
def calm_optimizer() -> Iterator[None]:
    """AdamW that does not turn the rounding of gradients that are zero in truth into whole
    steps."""
    with mock.patch("torch.optim.AdamW", partial(torch.optim.AdamW, eps=1e-3)):
        yield


def bad_number() -> Score:
    return Score((float("nan"),), dict.fromkeys(TERMS, 0.0))


def bad_data() -> Score:
    raise DataError("this is only known here")


def stop_signal() -> Score:
    """Only this process is asked to stop, in the second step."""
    os.kill(os.getpid(), signal.SIGTERM)
    return Score((0.0,), dict.fromkeys(TERMS, 0.0))


def no_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def sudden_end() -> Score:
    os._exit(7)


def command(model: Path, out: Path) -> dict[str, Any]:
    """Three groups, which two processes cannot share evenly."""
    words = [
        "train",
        "grpo",
        "--recipe",
        "mini",
        "--model",
        str(model),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    said = io.StringIO()
    with redirect_stderr(said):
        code = cli.main([*words, "--prompts-per-step", "3"])
    return {"code": code, "said": said.getvalue()}


def scenarios(model: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """What the processes do one after the other; the last one ends all but the first."""

    def apart() -> None:
        with mock.patch.object(parallel.Ranks, "sum_gradients"):
            train(model, folder / "apart", num_steps=1)

    def out_of_memory() -> None:
        """In the update of the second step, in one process."""
        collate = policy_trainer.collate_policy

        def collated(*args: Any) -> Any:
            if (
                os.environ["RANK"] == "1"
                and (folder / "out_of_memory" / "metrics.jsonl").stat().st_size
            ):
                no_memory()
            return collate(*args)

        with mock.patch.object(policy_trainer, "collate_policy", collated):
            train(model, folder / "out_of_memory", **seldom)

    # What ends before it learns: a group per process, an update per step, no reference.
    brief: dict[str, Any] = {"prompts_per_step": 2, "num_minibatches": 1, "loss": LossSettings()}
    seldom: dict[str, Any] = {"save_every_steps": 9, "num_minibatches": 1}
    return {
        "none": lambda: logging_elsewhere(model, folder / "none"),
        "full": lambda: train(model, folder / "full", sharding="full"),
        "resumed_full": lambda: train(model, folder / "resumed_full", resume=True, sharding="full"),
        "ppo_none": lambda: train(model, folder / "ppo_none", WordyTurns(), **PPO),
        "ppo_full": lambda: train(model, folder / "ppo_full", WordyTurns(), sharding="full", **PPO),
        "apart": apart,
        "uneven": lambda: command(model, folder / "uneven"),
        "bad_number": lambda: train(model, folder / "bad_number", Strange(bad_number), **brief),
        "bad_data": lambda: train(model, folder / "bad_data", Strange(bad_data), **brief),
        "stopped": lambda: train(model, folder / "stopped", Strange(stop_signal, 4), **seldom),
        "out_of_memory": out_of_memory,
        "sudden_end": lambda: train(model, folder / "sudden_end", Strange(sudden_end), **brief),
    }


def outcomes(model: Path, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What came of each scenario in each process: what it returned, or the type and text of its
    error."""
    ports = _free_ports(len(scenarios(model, folder)))
    environment = {
        **os.environ,
        "WORLD_SIZE": str(NUM_PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, __file__, str(model), str(folder), *map(str, ports)]
    paths = os.pathsep.join(
        filter(None, [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH")])
    )
    processes = [
        subprocess.Popen(
            words, env={**environment, "PYTHONPATH": paths, "RANK": rank, "LOCAL_RANK": rank}
        )
        for rank in map(str, range(NUM_PROCESSES))
    ]
    try:
        codes = [process.wait(timeout=1200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 7]
    found: dict[str, list[dict[str, Any]]] = {}
    for name in scenarios(model, folder):
        files = [folder / f"{name}.{rank}.json" for rank in range(NUM_PROCESSES)]
        found[name] = [json.loads(path.read_text()) for path in files if path.exists()]
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> None:
    torch.set_num_threads(1)
    model, folder, ports = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    last_words = mock.patch.object(parallel, "_LAST_WORDS_S", 0.0)
    with calm_optimizer(), curves_drawn_once(), last_words:
        for (name, run), port in zip(scenarios(model, folder).items(), ports, strict=True):
            os.environ["MASTER_PORT"] = port
            try:
                outcome = {"returned": run()}
            except (Exception, KeyboardInterrupt) as error:
                outcome = {"error": type(error).__name__, "text": str(error)}
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            (folder / f"{name}.{os.environ['RANK']}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
