"""The mini recipes of retrieval: a small model that reads what it is shown, then rewards alone for
where to look (Video-MTR, shown on two cores).

Supervised training teaches to see, to read the marks of frames, to answer from what is in view, to
name the frame that shows a thing, and the grammar. The ranges that it shows are blind to the film
and to the question. What was tried is in docs/experiment_log.md.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from oncue.data.long_examples import LongFilmExamples
from oncue.data.retrieval_skills import RetrievalSkills
from oncue.engine.sampling import SamplingParams
from oncue.recipes.retrieval_mini_model import LOOK, MAX_TURNS
from oncue.rewards.retrieval import RetrievalRewardSettings
from oncue.train.rl.critic_settings import CriticSettings, GaeSettings
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.sft.loop import NEW_MODEL, SftConfig, Stage

_MODEL = "runs/mini-retrieval"  # what `train sft --recipe mini-retrieval --out` of that name gives
_NOISE = 3.0
# What the new model's start wrote by hand: trained at once, it is washed out within 75 steps
_WORDS = ("*embed_tokens*",)
_ATTENTION = ("model.language_model.layers.*.self_attn*",)
_READING = ("model.language_model.layers.[012].self_attn*",)


def mini_retrieval_sft() -> SftConfig:
    """Every setting of the start; `model` "new" builds an untrained one first.

    `seeing`: one frame, and what it shows. `reading`: all skills. In neither is the circuit trained
    that the model was built with. How far it has been tried: docs/experiment_log.md.
    """

    def stage(
        name: str, odds: dict[str, float], num_shown: tuple[int, int], **options: Any
    ) -> Stage:
        source = RetrievalSkills(
            odds,
            num_shown,
            look=LOOK,
            max_turns=MAX_TURNS,
            answered_at_once_frac=0.3,
            pixel_noise=_NOISE,
        )
        return Stage(name, source, **options)

    return SftConfig(
        model=NEW_MODEL,
        stages=(
            stage(
                "seeing",
                {"shape": 1.0, "colour": 0.6},
                (1, 1),
                batch_size=32,
                num_steps=90,
                frozen=(*_WORDS, *_ATTENTION),
            ),
            stage(
                "reading",
                {
                    "shape": 0.3,
                    "colour": 0.3,
                    "where": 0.7,
                    "answer": 1.0,
                    "look": 2.0,
                    "found": 1.0,
                },
                (8, 16),
                batch_size=12,
                num_steps=150,
                learning_rate_scale=0.5,
                frozen=(*_WORDS, *_READING),
            ),
        ),
        frame_interval_s=1.0,
        frames_per_turn=1,
        learning_rate=2e-3,
        warmup_frac=0.02,
        final_learning_rate_frac=0.05,
        betas=(0.9, 0.98),
        max_tokens=4096,
        micro_batch_size=64,
        freeze_vision=False,
        gradient_checkpointing=False,
        log_every_steps=25,
        save_every_steps=200,
    )


def mini_retrieval_grpo() -> GrpoConfig:
    """Every setting: 96 episodes per step, each of one look and an answer. Nothing but the reward
    says where to look."""
    return GrpoConfig(
        model=_MODEL,
        examples=LongFilmExamples(look=LOOK, pixel_noise=_NOISE),
        num_steps=160,
        prompts_per_step=12,
        group_size=8,
        sampling=SamplingParams(temperature=1.0, top_k=0, max_new_tokens=8),
        reward=RetrievalRewardSettings("paper"),
        loss=LossSettings(entropy_coefficient=0.005),
        scale_by_deviation=False,
        learning_rate=3e-4,
        warmup_steps=5,
        betas=(0.9, 0.98),
        max_tokens=4096,
        micro_batch_size=64,
        freeze_vision=True,
        freeze_merger=True,
        gradient_checkpointing=False,
    )


def mini_ppo() -> PpoConfig:
    """The same with a critic: a value head on the policy, bi-level credit (section 3.3)."""
    grpo = mini_retrieval_grpo()
    shared = {each.name: getattr(grpo, each.name) for each in fields(GrpoConfig)}
    return PpoConfig(
        **{**shared, "scale_by_deviation": True},
        critic=CriticSettings("detached_head", learning_rate=1e-3, value_clip=0.5),
        gae=GaeSettings("paper_boundary", gamma_turn=0.95, gamma_token=1.0, lam=1.0),
    )
