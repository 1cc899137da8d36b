"""Data of a run made ahead of time, in worker processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from oncue.errors import InputError, RunStoppedError

Made = TypeVar("Made")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ASKING = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if sys.platform != "win32" else ()))


def prefetched(make: Callable[[int], Made], count: int, num_workers: int) -> Iterator[Made]:
    """`make(0)` to `make(count - 1)`, made by `num_workers` processes (0: here, when they are asked
    for).

    Raises an InputError or MemoryError of `make` as if it had been called here, and RunStoppedError
    when a process was killed. `make` must be picklable.
    """
    init = _end_with_parent_only if num_workers else None
    data = torch.utils.data.DataLoader(
        _Ahead(make, count), None, num_workers=num_workers, worker_init_fn=init
    )
    with _signals_held():
        loader = iter(data)
    for _ in range(count):
        with lost_worker_reported():
            made = next(loader)
        if isinstance(made, InputError | MemoryError):
            raise made
        yield made


@contextmanager
def _signals_held() -> Iterator[None]:
    """Lets Ctrl-C, SIGTERM and SIGHUP wait for the end of the block, in which processes are
    started: torch cannot clean up what it has half started, and Python ignores what a handler
    raises in a callback of the fork. Processes that are started inherit the block. On Linux
    only."""
    if sys.platform != "linux":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent_only(_: int) -> None:
    """Lets Linux end this worker when its parent is killed, and leaves Ctrl-C and SIGTERM, which
    often go to all processes of a job, to the parent: it saves the run first. They have been
    blocked since before the fork.

    A worker without a parent might wait for ever to hand over what it has made, and keep the lock
    of the run, which it has inherited.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        threading.Thread(target=_end_when_parent_asks, daemon=True).start()


def _end_when_parent_asks() -> None:
    parent = multiprocessing.parent_process()
    while parent is None or signal.sigwaitinfo(_ASKING).si_pid != parent.pid:
        pass
    os._exit(0)


@contextmanager
def lost_worker_reported() -> Iterator[None]:
    """Raises RunStoppedError where a process of `prefetched` was killed during the block.

    torch raises a RuntimeError as soon as it notices, which may be anywhere in the block: in the
    middle of writing a checkpoint, say, where others take it for an error of theirs.
    """
    try:
        yield
    except Exception as error:
        lost = _lost_worker(error)
        if lost is None:
            raise
        raise RunStoppedError(
            "a process that makes training data was ended from outside, often because memory ran "
            f"out ({str(lost).rstrip(' .')}); the same command with --resume auto goes on from the "
            "newest checkpoint; --num-workers 0 needs no such process"
        ) from error


def _lost_worker(error: BaseException | None) -> BaseException | None:
    """What torch said of a killed process: `error`, or what it was raised from or while handling;
    None for neither."""
    while error is not None and not str(error).startswith("DataLoader worker (pid"):
        error = error.__cause__ or error.__context__
    return error


@dataclass(frozen=True, slots=True)
class _Ahead(torch.utils.data.Dataset, Generic[Made]):
    """What is wrong with the data comes back as a value: an error that crosses a process border
    would arrive with a traceback in its text."""

    make: Callable[[int], Made]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Made | InputError | MemoryError:
        if i >= self.count:
            raise IndexError(i)
        try:
            return self.make(i)
        except (InputError, MemoryError) as error:
            return error
