"""Laws of the engine and of training on a GPU, held to one that is pretended (`pretend_gpu`): the
CPU's values under a GPU's rules. It shows that nothing meets across devices, what is waited for,
and that recorded graphs may be recorded; not how fast a GPU is, nor how its kernels round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils import backend_registration

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no hooks for devices written in Python",
)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `on_pretended_gpu` prints."""
    paths = os.pathsep.join(
        [str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "on_pretended_gpu.py")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize(
    ("run", "as_on_cpu"), [("greedy", "greedy"), ("sampled", "sampled"), ("static", "greedy")]
)
def test_sessions_say_what_they_say_on_the_cpu(
    found: dict[str, Any], run: str, as_on_cpu: str
) -> None:
    assert found[run]["said"] == found["cpu"][as_on_cpu]
    lengths = [len(answer) for session in found[run]["said"] for answer in session]
    assert min(lengths) == 3  # silent
    assert max(lengths) > 4  # and not


@pytest.mark.parametrize("run", ["greedy", "sampled", "static"])
def test_a_step_waits_for_its_tokens_and_for_nothing_else(found: dict[str, Any], run: str) -> None:
    """Tokens and log-probabilities, once each, however many sessions and choices; new frames and
    prompts included."""
    assert sum(found[run]["waits"].values()) == 2 * found[run]["num_steps"]
    assert all("sampler.py:choose" in place for place in found[run]["waits"])
    assert found["stock_waits"] >= 8  # control: what the tower waits for if it is left to itself


def test_shapes_are_recorded_once_and_replayed(found: dict[str, Any]) -> None:
    """Forwards of the decoder and frames through the vision tower."""
    assert 2 <= found["num_recorded"] < found["num_replayed"] / 4
    assert found["num_replayed"] > found["static"]["num_steps"]  # steps with new frames replay two


def test_a_training_step_is_that_of_the_cpu(found: dict[str, Any]) -> None:
    here, there = found["loss"]
    assert there == pytest.approx(here, rel=1e-4)
    norm, difference = found["grads"]
    assert difference < 1e-3 * norm


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(found: dict[str, Any]) -> None:
    """Control: the rules bite, and a replay runs what was recorded."""
    said = found["forbidden"]
    assert "tensors of both devices" in said["both devices"]
    assert "waits for the GPU while a graph is recorded" in said["looking at a value"]
    assert "between CPU and GPU while a graph is recorded" in said["a value of the CPU"]
    assert found["product"] == [6.0, 6.0]  # of the new memory, with the number that was recorded
