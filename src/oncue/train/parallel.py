"""Several processes that train together, one per device: torchrun starts them, and here they find
each other and meet.

Every process works on its own share and meets the others in a few places, in the same order
everywhere. Without torchrun there is one process, which meets nobody, and nothing of
torch.distributed is touched.

Gradients are added up once per update, after all backward passes, instead of by torch's wrapper
(DistributedDataParallel). That one meets in the middle of backward passes: it must know which of
them is the last, what it does with parameters without a gradient is a setting, and it needs the
model's own `forward`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from oncue.errors import ConfigError, RunStoppedError, StoppedElsewhereError
from oncue.model.loading import pick_device

T = TypeVar("T")

_TIMEOUT = timedelta(minutes=30)  # for a process that hangs; one that ends is noticed at once
_LAST_WORDS_S = (
    5.0  # the process that knows what went wrong ends first, so that torchrun names that one
)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run: how many there are, and the number of this one, from 0."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_environment(cls) -> Ranks:
        """What torchrun says of this process; one alone where it says nothing."""
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def deal(self, items: Sequence[T]) -> Sequence[T]:
        """The share of this process: every `size`-th item."""
        return items[self.rank :: self.size]

    def collect(self, share: Sequence[T]) -> list[T]:
        """All items again, from the shares that `deal` makes, each as long as the others."""
        return [item for items in zip(*self.gather(share), strict=True) for item in items]

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank; all must call this. `value` must be picklable."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        with _meeting():
            dist.all_gather_object(values, value)
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that every process enters, and none leaves before all are done with it.

        Where it fails in some, or a signal stops some, none goes on: the first of these raises its
        error, all others StoppedElsewhereError. The block must not meet the others inside.
        """
        error: Exception | KeyboardInterrupt | None = None
        try:
            yield
        except (Exception, KeyboardInterrupt) as caught:  # raised again below, once everybody knows
            error = caught
        ends = self.gather(None if error is None else type(error).__name__)
        first = next((rank for rank, end in enumerate(ends) if end is not None), None)
        if first is None:
            return
        if error is not None and first == self.rank:
            raise error
        if ends[first] != KeyboardInterrupt.__name__:
            time.sleep(_LAST_WORDS_S)
        raise StoppedElsewhereError(f"process {first} of {self.size} cannot go on") from error

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes, in place; where only some have one, it is zero in
        the others."""
        if self.size == 1:
            return
        has_one = [
            any(flags)
            for flags in zip(*self.gather([p.grad is not None for p in parameters]), strict=True)
        ]
        under_way = []
        with _meeting():
            for parameter in (p for p, has in zip(parameters, has_one, strict=True) if has):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                under_way.append(dist.all_reduce(parameter.grad, async_op=True))
            for work in under_way:
                work.wait()


ALONE = Ranks()


@contextmanager
def joined(device: str | None) -> Iterator[tuple[Ranks, str | None]]:
    """The processes of this run, and the device of this one; they part when the block ends well.

    `device`: None, "auto", "cuda" or "cpu", and any other where there is one process only. Raises
    ConfigError for a device that cannot be used, RunStoppedError where the others do not come.
    """
    ranks = Ranks.of_environment()
    if ranks.size == 1:
        yield ranks, device
        return
    place = pick_device(_own_device(device))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    with _meeting():  # values of Python travel by gloo, tensors of a GPU by NCCL
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo", timeout=_TIMEOUT
        )
    yield ranks, str(place)
    # not after an error: others may be waiting in a meeting, and this would wait for them
    dist.destroy_process_group()


def _own_device(device: str | None) -> str:
    if device in (None, "auto"):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cuda", "cpu"):
        raise ConfigError(
            "device must be cuda or cpu where several processes train, each on its own, got "
            f"{device!r}"
        )
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else "cpu"


@contextmanager
def _meeting() -> Iterator[None]:
    """Turns what torch says of a lost peer into a line that says what to do."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise RunStoppedError(
            f"another process of this run is gone or does not answer ({reason}); its own "
            "message says why. The same command with --resume auto goes on from the newest "
            "checkpoint"
        ) from error
