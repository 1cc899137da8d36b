"""Which numbers: complete settings under a name. Published constants stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

from oncue.errors import ConfigError
from oncue.train.sft import SftConfig


def sft_recipe(name: str) -> SftConfig:
    """The supervised fine-tuning recipe of that name. Raises ConfigError for an unknown one."""
    from oncue.recipes.mini import mini_sft
    from oncue.recipes.mmduet2 import mmduet2_3b_sft

    recipes: dict[str, Callable[[], SftConfig]] = {"mini": mini_sft, "mmduet2-3b": mmduet2_3b_sft}
    if name not in recipes:
        raise ConfigError(f"unknown recipe {name!r}; expected one of {', '.join(recipes)}")
    return recipes[name]()
