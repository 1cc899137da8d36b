"""A lack of memory is known by what is said of it, and ends a command with one line and exit code
1."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
import torch

from oncue import cli
from oncue.commands.bench import BenchEngine
from oncue.commands.eval_world import EvalWorld
from oncue.commands.watch import Watch
from oncue.errors import ConfigError, InputError, ModelError, RunStoppedError
from oncue.out_of_memory import lack_of_memory, readable_bytes


def raised(act: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:
        act()
    return caught.value


def test_what_torch_numpy_and_the_system_say_is_known() -> None:
    more = "out of memory ({} more could not be had)"
    assert lack_of_memory(raised(lambda: torch.empty(10**15))) == more.format("3.6 PiB")
    assert lack_of_memory(raised(lambda: np.zeros(10**15))) == more.format("7.11 PiB")
    cuda = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 139 GiB"
    )
    assert lack_of_memory(cuda) == more.format("20.00 MiB")
    assert lack_of_memory(raised(lambda: bytearray(10**14))) == "out of memory"
    assert lack_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory")) == "out of memory"
    assert lack_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")) == "out of memory"


def test_what_it_was_made_into_counts_and_what_only_sounds_like_it_does_not() -> None:
    model = ModelError("the model cannot be loaded")
    model.__cause__ = MemoryError()
    assert lack_of_memory(model) == "out of memory"
    ended = RunStoppedError("out of memory in step 3; lower --max-pixels")
    ended.__cause__ = MemoryError()
    for other in (
        ended,
        ConfigError("out of memory"),
        OSError(errno.ENOSPC, "No space left"),
        RuntimeError("odd"),
    ):
        assert lack_of_memory(other) is None


@pytest.mark.parametrize(
    ("words", "command", "flags"),
    [
        (["watch", "clip.mp4"], Watch, "--max-pixels, --context-tokens or --frames-per-turn"),
        (["eval", "world"], EvalWorld, "--max-pixels or --context-tokens"),
        (["bench", "engine"], BenchEngine, "--dtype bfloat16"),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_command_names_its_own_flags(
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    command: type,
    flags: str,
    wrapped: bool,
) -> None:
    def run(_: object) -> int:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        except RuntimeError as error:
            if wrapped:
                raise InputError("the model cannot be loaded") from error
            raise

    monkeypatch.setattr(command, "run", run)
    assert cli.main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("oncue: out of memory (2.00 GiB more could not be had); ")
    assert flags in line


def test_sizes_are_readable() -> None:
    assert [readable_bytes(n) for n in (0, 1023, 1024, 1.5 * 2**30, 2**60)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.5 GiB"),
        "1024.0 PiB",
    ]
