"""What made-up clips are drawn by, the world first: checked once, and drawn alike by every supply
of clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from oncue.errors import ConfigError
from oncue.setting_checks import require, require_frac, require_positive
from oncue.world.clip import SPLITS, WORLDS, looks_of
from oncue.world.questions import askable


def check_clips(settings: Any) -> None:
    """Raises ConfigError unless the settings of a supply of made-up clips say how these are to be
    drawn."""
    check_worlds(settings.worlds, settings.split, settings.question_kinds)
    require_positive(settings, "mean_gap_s")
    require_frac(settings, "empty_frac")
    require(
        0 <= settings.pixel_noise <= 255, "pixel_noise", "between 0 and 255", settings.pixel_noise
    )


def check_worlds(
    worlds: Mapping[str, float], split: str, question_kinds: Mapping[str, float] | None
) -> None:
    """Raises ConfigError unless `worlds` gives odds (not negative, their sum not zero) to known
    worlds, `split` is known, and each of these worlds can be asked some of `question_kinds` (None:
    its own)."""
    if (
        not set(worlds) <= set(WORLDS)
        or not 0 < sum(worlds.values()) < math.inf
        or min(worlds.values()) < 0
    ):
        raise ConfigError(f"worlds must give odds to some of {', '.join(WORLDS)}, got {worlds}")
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    if question_kinds is None:
        return
    for world in (world for world, odds in worlds.items() if odds):
        try:
            askable(question_kinds, looks_of(world))
        except ConfigError as error:
            raise ConfigError(f"world {world}: {error}") from error


def draw_world(worlds: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of `worlds`, by its odds. Takes one number from `rng`."""
    names = list(worlds)
    odds = np.array([worlds[name] for name in names])
    return str(rng.choice(names, p=odds / odds.sum()))
