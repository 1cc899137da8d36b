"""Laws of advantages: golden values by hand, and nothing from a group of equals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oncue.train.rl.advantage import group_advantages


@pytest.mark.parametrize(
    ("rewards", "scaled", "plain"),
    [
        ([1.0, 2.0, 3.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]),  # the deviation is 1
        ([0.0, 10.0], [-math.sqrt(0.5), math.sqrt(0.5)], [-5.0, 5.0]),  # 7.07
        ([0.3, 0.4], [-math.sqrt(0.5), math.sqrt(0.5)], [-0.05, 0.05]),  # 0.07
        (
            [0.0, 2e-6],
            [-1 / (1 + math.sqrt(2)), 1 / (1 + math.sqrt(2))],
            [-1e-6, 1e-6],
        ),  # too little to be blown up
        (
            [1.0, 5.0, 1.0, 5.0],
            [-math.sqrt(0.75), math.sqrt(0.75)] * 2,
            [-2.0, 2.0] * 2,
        ),  # sqrt(16 / 3)
        ([0.0, 0.0, 0.0, 2.0], [-0.5, -0.5, -0.5, 1.5], [-0.5, -0.5, -0.5, 1.5]),
    ],
)
def test_advantages_are_relative_to_the_group(
    rewards: list[float], scaled: list[float], plain: list[float]
) -> None:
    assert group_advantages(rewards) == pytest.approx(scaled, abs=1e-4)
    assert group_advantages(rewards, scale_by_deviation=True) == pytest.approx(scaled, abs=1e-4)
    assert group_advantages(rewards, scale_by_deviation=False) == pytest.approx(plain, abs=1e-6)
    shifted = [reward + 10 for reward in rewards]
    assert group_advantages(shifted) == pytest.approx(scaled, abs=1e-4)


def test_advantages_are_float32() -> None:
    """What they are multiplied with is too."""
    for rewards in ([1.0, 2.0], [1.0, 1.0]):
        for scale in (True, False):
            made = group_advantages(rewards, scale_by_deviation=scale)
            assert (made.dtype, made.shape) == (np.dtype(np.float32), (2,))


@pytest.mark.parametrize("scale", [True, False])
def test_a_constant_group_teaches_nothing(scale: bool) -> None:
    for equal in ([0.7] * 4, [0.1 + 0.2, 0.3], [0.0, 1e-6], [1.0]):  # two differ by rounding alone
        assert not group_advantages(equal, scale_by_deviation=scale).any()
    assert group_advantages([0.3, 0.3001], scale_by_deviation=scale).all()  # control
