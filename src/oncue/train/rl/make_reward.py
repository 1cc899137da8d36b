"""The reward of a run, from its settings."""

from __future__ import annotations

from collections.abc import Collection

from oncue.data.long_examples import LongFilmExamples
from oncue.data.retrieval_examples import RetrievalRows
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.rewards.proactive import ProactiveReward
from oncue.rewards.retrieval import RetrievalReward, RetrievalRewardSettings
from oncue.rewards.retrieval_rollout import FramesOf
from oncue.scoring.judge import Judge
from oncue.scoring.score import Reward
from oncue.train.rl.settings import GrpoConfig
from oncue.types import Retrieve, Task


def make_reward(config: GrpoConfig, judge: Judge | None) -> Reward:
    """The reward that `config` names. `judge` is for that of streams, and None without one.

    Raises ConfigError for streams without a judge.
    """
    if isinstance(config.reward, RetrievalRewardSettings):
        examples = config.examples
        assert isinstance(examples, RetrievalRows | LongFilmExamples), "the settings check that"
        look = examples.look
        return RetrievalReward(config.reward, frames_by(look), thinks=look.thinking == "required")
    if judge is None:
        raise ConfigError("the reward of streams needs a judge; give --judge")
    return ProactiveReward(judge, config.reward)


def frames_by(look: RetrievalSettings) -> FramesOf:
    """Which frames of its pool a retrieval asks for, by the rule of the environment."""

    def frames_of(action: Retrieve, task: Task) -> Collection[int]:
        if task.evidence is None or task.duration_s is None:
            raise ValueError(f"the pool of {task.task_id!r} is not known")
        return look.frames_of(action, task.evidence.num_frames, task.duration_s)

    return frames_of
