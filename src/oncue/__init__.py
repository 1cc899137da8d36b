"""oncue: proactive video models that watch a stream and decide by themselves when to speak.

The names below are what most programs need (docs/python.md). Each is loaded when it is first used,
so `import oncue` is quick, and torch is loaded only for what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncue.ask.video import ask_video as ask_video
    from oncue.engine.sampling import SamplingParams as SamplingParams
    from oncue.engine.window import Window as Window
    from oncue.env.retrieval import RetrievalEnv as RetrievalEnv
    from oncue.env.retrieval import RetrievalSettings as RetrievalSettings
    from oncue.env.streaming import StreamingEnv as StreamingEnv
    from oncue.eval.runner import run_benchmark as run_benchmark
    from oncue.policy.open_policy import LocalModel as LocalModel
    from oncue.policy.open_policy import Script as Script
    from oncue.policy.open_policy import ServerModel as ServerModel
    from oncue.policy.open_policy import open_policy as open_policy
    from oncue.recipes import grpo_recipe as grpo_recipe
    from oncue.recipes import sft_recipe as sft_recipe
    from oncue.rewards.proactive import ProactiveReward as ProactiveReward
    from oncue.rewards.retrieval import RetrievalReward as RetrievalReward
    from oncue.rewards.retrieval import RetrievalRewardSettings as RetrievalRewardSettings
    from oncue.rollout import run_episode as run_episode
    from oncue.scoring.judge_specs import make_judge as make_judge
    from oncue.train.rl.loop import train_grpo as train_grpo
    from oncue.train.sft.loop import train_sft as train_sft
    from oncue.types import Answer as Answer
    from oncue.types import EnvTurn as EnvTurn
    from oncue.types import Episode as Episode
    from oncue.types import Exchange as Exchange
    from oncue.types import FrameBatch as FrameBatch
    from oncue.types import GoldTurn as GoldTurn
    from oncue.types import Malformed as Malformed
    from oncue.types import PolicyTurn as PolicyTurn
    from oncue.types import Question as Question
    from oncue.types import Reply as Reply
    from oncue.types import Retrieve as Retrieve
    from oncue.types import Silence as Silence
    from oncue.types import StopReason as StopReason
    from oncue.types import Task as Task
    from oncue.types import TimeSpan as TimeSpan
    from oncue.video.pool import FramePool as FramePool
    from oncue.video.pool_reader import read_pool as read_pool
    from oncue.video.source import PushSource as PushSource
    from oncue.video.source import open_source as open_source
    from oncue.watch.video import watch_video as watch_video

__version__ = "0.1.0"

_NAMES = {
    "oncue.ask.video": ("ask_video",),
    "oncue.engine.sampling": ("SamplingParams",),
    "oncue.engine.window": ("Window",),
    "oncue.env.retrieval": ("RetrievalEnv", "RetrievalSettings"),
    "oncue.env.streaming": ("StreamingEnv",),
    "oncue.eval.runner": ("run_benchmark",),
    "oncue.policy.open_policy": ("LocalModel", "Script", "ServerModel", "open_policy"),
    "oncue.recipes": ("grpo_recipe", "sft_recipe"),
    "oncue.rewards.proactive": ("ProactiveReward",),
    "oncue.rewards.retrieval": ("RetrievalReward", "RetrievalRewardSettings"),
    "oncue.rollout": ("run_episode",),
    "oncue.scoring.judge_specs": ("make_judge",),
    "oncue.train.rl.loop": ("train_grpo",),
    "oncue.train.sft.loop": ("train_sft",),
    "oncue.types": (
        "Answer",
        "EnvTurn",
        "Episode",
        "Exchange",
        "FrameBatch",
        "GoldTurn",
        "Malformed",
        "PolicyTurn",
        "Question",
        "Reply",
        "Retrieve",
        "Silence",
        "StopReason",
        "Task",
        "TimeSpan",
    ),
    "oncue.video.pool": ("FramePool",),
    "oncue.video.pool_reader": ("read_pool",),
    "oncue.video.source": ("PushSource", "open_source"),
    "oncue.watch.video": ("watch_video",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'oncue' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
