"""What one step takes, found out before a run, and what follows from it for the whole run: its time
and its disk."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from oncue.files import disk_of, free_bytes
from oncue.out_of_memory import readable_bytes
from oncue.train.run_config import RunConfig

_BYTES_PER_WEIGHT, _BYTES_OF_ADAMW = 4, 8  # float32, and two moments of each trained one


class Problem(str):
    """A line of a plan that says why the run cannot start with what was given."""

    exit_code = 2


class Shortage(Problem):
    """A line of a plan that says what the machine has too little of."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """The first step of a run: its time, its tokens, and the size of a checkpoint and of the
    rollouts of a step."""

    seconds: float
    num_tokens: int
    checkpoint_bytes: int
    rollout_bytes: int = 0


class Laps:
    """A stopwatch that waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._last_s = device, time.perf_counter()

    def next_s(self) -> float:
        """Seconds since the last call, or since the beginning."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        before_s, self._last_s = self._last_s, time.perf_counter()
        return self._last_s - before_s


def at_once_s(made_s: float, trained_s: float, num_workers: int) -> float:
    """The time of a step whose data take `made_s` to make: worker processes make those of the next
    meanwhile."""
    return max(trained_s, made_s / num_workers) if num_workers else made_s + trained_s


def stored_bytes(
    weights: Iterable[torch.nn.Parameter], trained: Iterable[torch.nn.Parameter]
) -> int:
    """About the size of a checkpoint: its other files are small."""
    num_weights, num_trained = (
        sum(weight.numel() for weight in some) for some in (weights, trained)
    )
    return _BYTES_PER_WEIGHT * num_weights + _BYTES_OF_ADAMW * num_trained


def cost_lines(
    config: RunConfig,
    trial: Trial,
    run_s: float,
    out: Path,
    *,
    num_stored: int = 0,
    left_out: str = "",
) -> Iterator[str]:
    """The time and the disk of a run that takes about `run_s` seconds, in the folder `out`.

    `num_stored`: of how many steps the rollouts are stored. `left_out`: what else takes time. A
    lack of disk is a `Shortage`.
    """
    tokens = f"{trial.num_tokens:,} tokens, {trial.num_tokens / trial.seconds:,.0f} tokens/s"
    yield (
        f"time: the first step took {trial.seconds:.1f} s here ({tokens}), so the run takes about "
        f"{_duration(run_s)}{left_out}"
    )
    num_saved = min(
        math.ceil(sum(config.steps_of_stages) / config.save_every_steps),
        config.keep_checkpoints + 1,
    )
    needed = num_saved * trial.checkpoint_bytes
    parts = f"{num_saved} checkpoints of {readable_bytes(trial.checkpoint_bytes)} at once"
    if num_stored:
        of_rollouts = num_stored * trial.rollout_bytes
        needed += of_rollouts
        parts += f", {readable_bytes(of_rollouts)} of rollouts"
    # Will be replaced
    there = sum(path.stat().st_size for path in (out / "checkpoints").rglob("*") if path.is_file())
    line = f"disk: about {readable_bytes(needed)} ({parts}); {disk_of(out)}"
    if needed - there > free_bytes(out):
        yield Shortage(
            f"{line}: too little; make room, give another --out, or lower --keep-checkpoints"
        )
    else:
        yield line


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
