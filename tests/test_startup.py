"""A command starts quickly: the collector rests while a model is loaded, waiting threads sleep."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from oncue import cli
from oncue.startup import loading, threads_wait_asleep


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The collector of the test process is left as it was found."""
    frozen, at_work = gc.get_freeze_count(), gc.isenabled()
    yield
    if not frozen:
        gc.unfreeze()
    (gc.enable if at_work else gc.disable)()


def collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def test_nothing_is_collected_while_loading_and_what_is_loaded_is_passed_by() -> None:
    gc.unfreeze()
    before = collections()
    with loading():
        kept = [[number] for number in range(20_000)]
    assert collections() == before
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(kept)
    kept.extend([number] for number in range(20_000))  # the control: outside, it is at work
    assert collections() > before


def test_a_second_model_may_be_collected() -> None:
    with loading():
        pass
    before = gc.get_freeze_count()
    with loading():
        kept = [[number] for number in range(20_000)]
    assert gc.get_freeze_count() <= before < before + len(kept)


def test_an_error_while_loading_leaves_the_collector_at_work() -> None:
    with pytest.raises(RuntimeError, match="no model"), loading():
        raise RuntimeError("no model")
    assert gc.isenabled()


def test_whoever_switched_the_collector_off_finds_it_off() -> None:
    gc.disable()
    with loading():
        pass
    assert not gc.isenabled()


def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    threads_wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads_wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_command_sets_it_before_torch_is_imported() -> None:
    """In a process of its own: the runtime of the threads reads it once, when torch brings it."""
    code = (
        "import os, sys; from oncue import cli; from oncue.commands.doctor import Doctor; "
        "Doctor.run = lambda _: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules) or 0; "
        "sys.exit(cli.main(['doctor']))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["PASSIVE", "False"]


def test_help_changes_nothing(monkeypatch, capsys) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert cli.main(["--help"]) == 0
    assert "watch" in capsys.readouterr().out
    assert "OMP_WAIT_POLICY" not in os.environ
