"""Data made in other processes: in order, with errors as if made here, and never waited for in
vain."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oncue.errors import DataError, RunStoppedError
from oncue.train.prefetch import lost_worker_reported, prefetched


def square(i: int) -> int:
    return i * i


def breaks_at_2(i: int) -> int:
    if i == 2:
        raise DataError("row 2 is broken")
    return i


def fails_at_2(i: int) -> int:
    return i // (2 - i)


def killed_at_2(i: int) -> int:
    if i == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_come_in_order(num_workers: int) -> None:
    assert list(prefetched(square, 5, num_workers)) == [0, 1, 4, 9, 16]
    assert list(prefetched(square, 0, num_workers)) == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_wrong_with_the_data_arrives_as_it_was_raised(num_workers: int) -> None:
    made = prefetched(breaks_at_2, 5, num_workers)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(DataError) as error:
        next(made)
    assert str(error.value) == "row 2 is broken"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere signals are not held")
def test_a_signal_waits_until_the_processes_have_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch leaves a broken iterator behind where one is raised while it starts them."""
    blocked: list[bool] = []
    start = multiprocessing.process.BaseProcess.start

    def noted(process: multiprocessing.process.BaseProcess) -> None:
        blocked.append(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        os.kill(os.getpid(), signal.SIGINT)
        start(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", noted)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a worker of xdist ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            next(prefetched(square, 5, 1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert blocked == [True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="fails_at_2"):
        list(prefetched(fails_at_2, 5, 1))


def test_a_killed_process_is_told_of() -> None:
    with pytest.raises(RunStoppedError, match=r"ended from outside.*--resume auto"):
        list(prefetched(killed_at_2, 5, 1))


def kill_a_worker() -> None:
    """Kills a process that makes data, and works on; torch interrupts that."""
    worker = max(
        multiprocessing.active_children(), key=lambda child: child.pid or 0
    )  # the newest: others may be left
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(30)


@lost_worker_reported()
def a_loop() -> None:
    made = prefetched(square, 5, 1)
    assert next(made) == 0
    kill_a_worker()


@lost_worker_reported()
def a_loop_that_blames_the_disk() -> None:
    made = prefetched(square, 5, 1)
    assert next(made) == 0
    try:
        kill_a_worker()
    except RuntimeError as error:
        raise RunStoppedError("the checkpoint cannot be written; make room") from error


@pytest.mark.parametrize("loop", [a_loop, a_loop_that_blames_the_disk])
def test_a_process_that_is_killed_while_something_else_is_done_is_told_of(
    loop: Callable[[], None],
) -> None:
    with pytest.raises(RunStoppedError, match=r"ended from outside.*--resume auto") as told:
        loop()
    assert "make room" not in str(told.value)


PARENT = """
import os, sys, time
import numpy as np
from oncue.train.prefetch import prefetched
def large(i):
    if i == 0:  # once: the parent may be killed while a later item is made
        open(sys.argv[1], "w").write(str(os.getpid()))
    return np.zeros(2**22, np.float32)
if __name__ == "__main__":
    made = prefetched(large, 100, 1)
    next(made)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end it")
def test_a_worker_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    """It would wait to hand over what it has made, and keep what it has inherited, such as the lock
    of the run."""
    script, pid = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    ended = subprocess.run(
        [sys.executable, str(script), str(pid)], capture_output=True, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL
    worker = Path(f"/proc/{pid.read_text()}/stat")
    deadline = time.monotonic() + 30
    while worker.exists() and worker.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < deadline, "the worker is still there"
        time.sleep(0.1)


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="out of memory") as told, lost_worker_reported():
        raise RuntimeError("out of memory")
    assert not isinstance(told.value, RunStoppedError)
