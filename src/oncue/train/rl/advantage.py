"""Who in a group did better than the others. Axis letters: G members of a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EPSILON = 1e-6


def group_advantages(rewards_G: Sequence[float], *, scale_by_deviation: bool = True) -> np.ndarray:
    """The advantage (G,) float32 of each member: reward minus the group's mean, over its standard deviation.

    A group without spread has advantage 0 throughout. `scale_by_deviation` False leaves the differences as they are.
    Source: GRPO (arXiv 2402.03300) section 4.1.2; the deviation is that of a sample (divided by G - 1).
    """
    rewards = np.asarray(rewards_G, np.float64)
    centred = rewards - rewards.mean()
    if len(rewards) < 2 or np.ptp(rewards) <= EPSILON:
        return np.zeros(len(rewards), np.float32)
    return (centred / (rewards.std(ddof=1) + EPSILON) if scale_by_deviation else centred).astype(np.float32)
