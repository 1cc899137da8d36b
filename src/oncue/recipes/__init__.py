"""Which numbers: complete settings under a name. Published constants are here and nowhere
else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from oncue.data.retrieval_skills import RetrievalSkills
from oncue.errors import ConfigError
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.sft.loop import BuildModel, SftConfig

T = TypeVar("T")


def sft_recipe(name: str) -> SftConfig:
    """The supervised fine-tuning recipe of that name. Raises ConfigError for an unknown one."""
    from oncue.recipes.mini import mini_more_sft, mini_sft
    from oncue.recipes.mini_retrieval import mini_retrieval_sft
    from oncue.recipes.mini_rl import mini_late_sft
    from oncue.recipes.mmduet2 import mmduet2_3b_sft

    recipes = {
        "mini": mini_sft,
        "mini-more": mini_more_sft,
        "mini-late": mini_late_sft,
        "mini-retrieval": mini_retrieval_sft,
        "mmduet2-3b": mmduet2_3b_sft,
    }
    return _named(name, recipes)


def grpo_recipe(name: str) -> GrpoConfig:
    """The reinforcement learning recipe of that name. Raises ConfigError for an unknown one."""
    from oncue.recipes.mini_retrieval import mini_retrieval_grpo
    from oncue.recipes.mini_rl import mini_grpo
    from oncue.recipes.mmduet2 import mmduet2_3b_grpo
    from oncue.recipes.video_mtr import video_mtr_grpo

    recipes = {
        "mini": mini_grpo,
        "mini-retrieval": mini_retrieval_grpo,
        "mmduet2-3b": mmduet2_3b_grpo,
        "video-mtr-7b": video_mtr_grpo,
    }
    return _named(name, recipes)


def ppo_recipe(name: str) -> PpoConfig:
    """The recipe of that name of reinforcement learning with a critic. Raises ConfigError for an
    unknown one."""
    from oncue.recipes.mini_retrieval import mini_ppo
    from oncue.recipes.video_mtr import video_mtr_3b, video_mtr_7b, video_mtr_release

    recipes = {
        "mini": mini_ppo,
        "video-mtr-7b": video_mtr_7b,
        "video-mtr-3b": video_mtr_3b,
        "video-mtr-release": video_mtr_release,
    }
    return _named(name, recipes)


def builder_of(config: SftConfig) -> BuildModel:
    """What writes the untrained model that these settings begin with: one with the tokens of
    retrieval where that is taught."""
    from oncue.recipes.mini_model import build_mini
    from oncue.recipes.retrieval_mini_model import build_retrieval_mini

    retrieves = any(isinstance(stage.source, RetrievalSkills) for stage in config.stages)
    return build_retrieval_mini if retrieves else build_mini


def _named(name: str, recipes: Mapping[str, Callable[[], T]]) -> T:
    if name not in recipes:
        raise ConfigError(f"unknown recipe {name!r}; expected one of {', '.join(recipes)}")
    return recipes[name]()
