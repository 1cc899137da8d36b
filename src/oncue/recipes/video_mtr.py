"""Video-MTR (arXiv 2508.20478): the settings of the paper, and where it has none, of its released
code.

Where they differ, `video_mtr_7b` and `video_mtr_3b` follow the paper and `video_mtr_release` the
code (`scripts/video_ppo/run_7B.sh`, `data.yaml`). docs/paper_map.md says where both are silent.
"""

from __future__ import annotations

from dataclasses import fields, replace

from oncue.data.retrieval_examples import RetrievalRows
from oncue.engine.sampling import SamplingParams
from oncue.env.retrieval import RetrievalSettings
from oncue.rewards.bootstrapping import BootstrappingSettings
from oncue.rewards.retrieval import RetrievalRewardSettings
from oncue.train.rl.critic_settings import CriticSettings, GaeSettings
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.settings import GrpoConfig, PpoConfig

_PIXELS_OF_TOKEN = 28 * 28
_TOKENS_OF_FRAME = 32  # while training, of the released code


def video_mtr_7b() -> PpoConfig:
    """Every setting for Qwen2.5-VL-7B-Instruct, frame budget 32. Questions come with --data, their
    videos with --examples.videos."""
    return PpoConfig(
        model="Qwen/Qwen2.5-VL-7B-Instruct",
        examples=_questions(num_frames=128),  # appendix A.2
        num_steps=500,  # appendix B: 8K questions; script: 16 a step, one epoch
        prompts_per_step=16,  # script: 16 questions with 2 rollouts each
        group_size=2,  # script
        num_minibatches=4,  # script: 8 rollouts a mini-batch
        num_epochs=1,  # script
        sampling=SamplingParams(temperature=0.7, top_k=0, top_p=0.95, max_new_tokens=512),  # script
        reward=RetrievalRewardSettings("paper", lambda_drop=1.0),  # section 3.2; lambda not stated
        bootstrapping=BootstrappingSettings("paper", latch_after=5),  # appendix A.5; 5 not stated
        loss=LossSettings(clip_low=0.2, clip_high=0.2, entropy_coefficient=0.001),  # script
        # section 3.3; lambda: script
        gae=GaeSettings("paper_boundary", gamma_turn=0.95, gamma_token=1.0, lam=1.0),
        critic=CriticSettings("model", learning_rate=1e-5, value_clip=0.5),  # section 4.1; script
        kl_in_reward=0.001,  # script
        max_pixels=_TOKENS_OF_FRAME * _PIXELS_OF_TOKEN,  # script
        learning_rate=1e-6,  # section 4.1
        max_tokens=8192,  # script: max_model_len
        micro_batch_size=1,  # script
        max_grad_norm=1.0,  # script
        gradient_checkpointing=True,
        param_dtype="float32",
        autocast_dtype="bfloat16",
        sharding="full",
        save_every_steps=100,  # script
    )


def video_mtr_3b() -> PpoConfig:
    """Every setting for Qwen2.5-VL-3B-Instruct (Table 6); the paper states no other ones for it."""
    return replace(video_mtr_7b(), model="Qwen/Qwen2.5-VL-3B-Instruct")


def video_mtr_grpo() -> GrpoConfig:
    """The same task without a critic: groups of 8, and credit per turn. Nobody has published
    settings for that; what is not about the critic is that of `video_mtr_7b`."""
    ppo = video_mtr_7b()
    shared = {each.name: getattr(ppo, each.name) for each in fields(GrpoConfig)}
    return GrpoConfig(
        **{
            **shared,
            "prompts_per_step": 4,
            "group_size": 8,
            "num_minibatches": 1,
            "credit": "return_to_go",
            "credit_discount": 0.95,
        }
    )


def video_mtr_release() -> PpoConfig:
    """The settings of the released code: its rewards, its credit without discount, a pool of 64
    frames, and a bonus for looks that never ends. The code takes fewer frames of a video under 64
    seconds, one a second; here it has 64, too."""
    paper = video_mtr_7b()
    return replace(
        paper,
        examples=_questions(num_frames=64),
        reward=RetrievalRewardSettings("release"),
        bootstrapping=BootstrappingSettings("release"),
        gae=GaeSettings("bilevel_gae", gamma_turn=1.0, gamma_token=1.0, lam=1.0),
    )


def _questions(num_frames: int) -> RetrievalRows:
    """Looked into as section 4.1 has it: half of the budget first, a quarter in each later turn,
    K_max 3, w 2."""
    look = RetrievalSettings.for_budget(32, max_turns=3)
    return RetrievalRows((), num_frames=num_frames, look=replace(look, thinking="required"))
