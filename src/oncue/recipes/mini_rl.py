"""The mini recipe of reinforcement learning: the bundled model on made-up clips, minutes on two cores."""

from __future__ import annotations

from oncue.policy.sampling import Sampling
from oncue.recipes.mini import COMPARING
from oncue.reward.proactive import RewardSettings
from oncue.train.examples import WorldExamples
from oncue.train.grpo_settings import GrpoConfig


def mini_grpo() -> GrpoConfig:
    """Every setting: 32 rollouts of 20 s per step, from the bundled model."""
    return GrpoConfig(
        model="mini",
        examples=WorldExamples(num_turns=(20, 20), history_turns=(0, 8)),
        prompts_per_step=8,
        group_size=4,
        sampling=Sampling(temperature=1.0, top_k=0, max_new_tokens=16),
        reward=RewardSettings(profile="official"),
        judge="exact",
        frame_interval_s=1.0,
        frames_per_turn=1,
        learning_rate=1e-4,
        warmup_steps=10,
        betas=(0.9, 0.98),
        max_tokens=4096,
        micro_batch_size=16,
        frozen=COMPARING,
        gradient_checkpointing=False,
    )
