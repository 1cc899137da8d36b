"""Rows of tokens with the advantages that follow from them, and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

TWO_TURNS: dict[str, Any] = {
    "rewards": [0, 0, 0.6, 0, 0, 0, 0, 1.1],
    "values": [0.1, 0.2, 0.3, 0, 0, 0.4, 0.5, 0.6],
    "mask": [1, 1, 1, 0, 0, 1, 1, 1],
    "turn_ends": [0, 0, 1, 0, 0, 0, 0, 1],
}
THREE_TURNS: dict[str, Any] = {  # the one in the middle earns nothing
    "rewards": [0, 0.6, 0, 0, 0, 0, 1.1],
    "values": [0.1, 0.3, 0, 0.2, 0.4, 0.5, 0.6],
    "mask": [1, 1, 0, 1, 1, 1, 1],
    "turn_ends": [0, 1, 0, 0, 1, 0, 1],
}
GOLDEN = [  # rows; gamma_token, lambda, gamma_turn; advantages; returns
    (
        TWO_TURNS,
        (1, 1, 0.95),
        [1.545, 1.445, 1.345, 0, 0, 0.7, 0.6, 0.5],
        [1.645, 1.645, 1.645, 0, 0, 1.1, 1.1, 1.1],
    ),
    (
        TWO_TURNS,
        (1, 1, 1),
        [1.6, 1.5, 1.4, 0, 0, 0.7, 0.6, 0.5],
        [1.7, 1.7, 1.7, 0, 0, 1.1, 1.1, 1.1],
    ),
    (
        TWO_TURNS,
        (1, 0.9, 0.95),
        [1.240975, 1.26775, 1.2975, 0, 0, 0.595, 0.55, 0.5],
        [1.340975, 1.46775, 1.5975, 0, 0, 0.995, 1.05, 1.1],
    ),
    (
        TWO_TURNS,
        (0.99, 0.95, 0.95),
        [1.357927, 1.339636, 1.32125, 0, 0, 0.625677, 0.56425, 0.5],
        [1.457927, 1.539636, 1.62125, 0, 0, 1.025677, 1.06425, 1.1],
    ),
    (
        THREE_TURNS,
        (1, 1, 0.95),
        [1.49275, 1.29275, 0, 0.845, 0.645, 0.6, 0.5],
        [1.59275, 1.59275, 0, 1.045, 1.045, 1.1, 1.1],
    ),
    (
        THREE_TURNS,
        (0.99, 0.95, 0.95),
        [1.363858, 1.240678, 0, 0.780286, 0.62125, 0.56425, 0.5],
        [1.463858, 1.540678, 0, 0.980286, 1.02125, 1.06425, 1.1],
    ),
]


def random_row(rng: np.random.Generator, *, token_rewards: bool = False) -> dict[str, np.ndarray]:
    """A row with observed places before, between and behind its turns, whose values are noise."""
    mask: list[int] = []
    ends: list[int] = []
    for length in rng.integers(1, 4, rng.integers(0, 5)):
        gap = int(rng.integers(0, 3))
        mask += [0] * gap + [1] * length
        ends += [0] * (gap + length - 1) + [1]
    behind = int(rng.integers(0, 3))
    mask, ends = mask + [0] * behind, ends + [0] * behind
    rewards = rng.normal(size=len(mask)) * (mask if token_rewards else ends)
    rewards *= rng.random(len(mask)) < 0.7  # some turns earn nothing
    values = np.where(mask, rng.normal(size=len(mask)), np.nan)
    return {
        "rewards": rewards,
        "values": values,
        "mask": np.array(mask),
        "turn_ends": np.array(ends),
    }
