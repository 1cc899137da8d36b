"""Which world a made-up clip comes from: odds, checked once and drawn from alike by every supply of clips."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oncue.errors import ConfigError
from oncue.world.clip import SPLITS, WORLDS


def check_worlds(worlds: Mapping[str, float], split: str) -> None:
    """Raises ConfigError unless `worlds` gives odds (not negative, their sum not zero) to known worlds, and `split` is
    known."""
    if not set(worlds) <= set(WORLDS) or not sum(worlds.values()) > 0 or min(worlds.values()) < 0:
        raise ConfigError(f"worlds must give odds to some of {', '.join(WORLDS)}, got {worlds}")
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")


def draw_world(worlds: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of `worlds`, by its odds. Takes one number from `rng`."""
    names = list(worlds)
    odds = np.array([worlds[name] for name in names])
    return str(rng.choice(names, p=odds / odds.sum()))
