"""The published settings of MMDuet2 (arXiv 2512.06810), each with its section."""

from __future__ import annotations

from pathlib import Path

from oncue.data.dialogue_sources import RowSource
from oncue.data.row_examples import RowExamples
from oncue.engine.sampling import SamplingParams
from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS
from oncue.rewards.proactive import RewardSettings
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.loop import SftConfig, Stage


def mmduet2_3b_sft() -> SftConfig:
    """Supervised fine-tuning of Qwen2.5-VL-3B (paper section 4.2; the official script where the
    paper is silent).

    Give the training files with `--data FILE.jsonl ...`, and with `--offline` the 25,000 questions
    of LLaVA-Video and the 25,000 captions of Tarsier2 that keep its offline skill, one file each;
    without `--ratios` every row comes once, as published. The batch of 32 is 16 devices with one
    dialogue each and two accumulated; here it is accumulated on one device.
    """
    return SftConfig(
        model="Qwen/Qwen2.5-VL-3B-Instruct",  # section 4.2
        # script: 1 x 2 on 16 devices
        stages=(Stage("sft", RowSource(paths=(Path("train.jsonl"),)), batch_size=32),),
        frame_interval_s=2.0,  # section 4.2
        frames_per_turn=2,  # section 4.2
        max_pixels=MMDUET2_MAX_PIXELS,  # section 4.2: at most 128 vision tokens per frame
        learning_rate=1e-5,  # script
        warmup_frac=0.05,  # script
        weight_decay=0.1,  # not in the script: default of its framework (ms-swift)
        betas=(0.9, 0.95),  # likewise
        max_tokens=10_000,  # script: max_length
        freeze_vision=True,  # script: freeze_vit
        freeze_merger=False,  # script: freeze_aligner
        gradient_checkpointing=True,
        param_dtype="float32",
        autocast_dtype="bfloat16",  # script: bf16
        log_every_steps=20,  # script
        save_every_steps=200,  # script
    )


def mmduet2_3b_grpo() -> GrpoConfig:
    """Reinforcement learning of the supervised 3B model (paper section 4.3; the official script of
    its main run, at 2 s per frame, where the paper is silent). The run at 1 s has 180 frames and
    twice the tokens.

    Give the model with `--model`, examples with `--data`, and a server with `--judge`: the paper's
    judge (section 4.3.2) is not open, so this names the default of the released code.
    """
    return GrpoConfig(
        model="sft-checkpoint",  # section 4.3: what supervised fine-tuning ended with
        # script: 90 frames at 2 s
        examples=RowExamples(paths=(Path("examples.jsonl"),), max_frames=90),
        num_steps=489,  # section 4.3
        # script: one per device on 8; 489 steps of 16 would match the data better (unclear)
        prompts_per_step=8,
        group_size=4,  # script
        num_minibatches=1,  # script: its batch of an update is 8 prompts, all of the step
        sampling=SamplingParams(temperature=1.2, top_k=10, max_new_tokens=100),  # script
        # section 4.3.2
        reward=RewardSettings("official", pauc=3.0, repetition=2.0, in_span=0.5, prefix=2.0),
        judge="openai:Qwen/Qwen3-32B@http://localhost:8000/v1",
        loss=LossSettings(),  # script: no KL, no entropy bonus
        frame_interval_s=2.0,  # section 4.2
        frames_per_turn=2,  # section 4.2
        max_pixels=MMDUET2_MAX_PIXELS,  # section 4.2: at most 128 vision tokens per frame
        learning_rate=1e-6,  # script
        max_tokens=25_650,  # script: 90 * 190 of the prompt and 45 * 190 of the response
        micro_batch_size=1,  # script
        gradient_checkpointing=True,  # script
        param_dtype="float32",
        autocast_dtype="bfloat16",
        save_every_steps=15,  # script
    )
