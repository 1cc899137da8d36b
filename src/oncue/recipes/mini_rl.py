"""The mini recipes of reinforcement learning: a model that is unsure when to speak, then rewards for when it does.

Minutes each on two cores, from the bundled model, on made-up clips. What was tried is in docs/experiment_log.md.
"""

from __future__ import annotations

from dataclasses import replace

from oncue.dialogue.write import Placement
from oncue.policy.sampling import Sampling
from oncue.recipes.mini import COMPARING, mini_sft
from oncue.reward.proactive import RewardSettings
from oncue.train.examples import WorldExamples
from oncue.train.grpo_settings import GrpoConfig
from oncue.train.settings import SftConfig, Stage
from oncue.train.sources import WorldSource

# Forms are harder to tell apart than anything in footage, so shapes are shown twice as often.
_WORLDS = {"shapes": 2.0, "footage": 1.0}
_MEAN_GAP_S = 2.0  # more happens than in the worlds' own clips: a segment in which nothing is due teaches little


def mini_spread_sft() -> SftConfig:
    """Every setting of the start: the bundled model goes on, with gold replies at a random turn of their span."""
    source = WorldSource(
        worlds=_WORLDS, num_turns=(8, 20), mean_gap_s=_MEAN_GAP_S, placement=Placement.SPREAD, pixel_noise=3.0
    )
    return replace(
        mini_sft(),
        model="mini-sft",
        stages=(Stage("spread", source, 8, 250, frozen=COMPARING),),
        learning_rate=2.5e-4,
        log_every_steps=25,
        save_every_steps=125,
    )


def mini_grpo() -> GrpoConfig:
    """Every setting: 32 rollouts of 16 s per step.

    `temperature`: at 1 the model says so much that is wrong that silence pays best, and it falls silent for good.
    `scale_by_deviation`: in a group in which nothing is due, one false reply would count as much as a right one does
    elsewhere, though it costs far less than that earns. Unscaled, more is said, right and wrong.
    """
    return GrpoConfig(
        model="mini-sft",
        examples=WorldExamples(
            worlds=_WORLDS,
            num_turns=(16, 16),
            history_turns=(0, 4),
            mean_gap_s=_MEAN_GAP_S,
            empty_share=0.08,
            pixel_noise=3.0,
        ),
        num_steps=120,
        prompts_per_step=8,
        group_size=4,
        sampling=Sampling(temperature=0.7, top_k=0, max_new_tokens=16),
        reward=RewardSettings(profile="paper"),
        judge="exact",
        scale_by_deviation=False,
        frame_interval_s=1.0,
        frames_per_turn=1,
        learning_rate=1e-4,
        final_learning_rate_share=0.3,
        warmup_steps=10,
        betas=(0.9, 0.98),
        max_tokens=4096,
        micro_batch_size=16,
        frozen=COMPARING,
        gradient_checkpointing=False,
    )
