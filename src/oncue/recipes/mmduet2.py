"""The published settings of MMDuet2 (arXiv 2512.06810), each with its section."""

from __future__ import annotations

from pathlib import Path

from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS
from oncue.train.sft import SftConfig, Stage
from oncue.train.sources import RowSource


def mmduet2_3b_sft() -> SftConfig:
    """Supervised fine-tuning of Qwen2.5-VL-3B (paper section 4.2; the official script where the paper is silent).

    Give the training files with `--data FILE.jsonl ...`. The batch of 32 is 16 devices with one dialogue each and two
    accumulated; here it is accumulated on one device.
    """
    return SftConfig(
        model="Qwen/Qwen2.5-VL-3B-Instruct",  # section 4.2
        stages=(Stage("sft", RowSource(paths=(Path("train.jsonl"),)), batch_size=32),),  # script: 1 x 2 on 16 devices
        frame_interval_s=2.0,  # section 4.2
        frames_per_turn=2,  # section 4.2
        max_pixels=MMDUET2_MAX_PIXELS,  # section 4.2: at most 128 vision tokens per frame
        learning_rate=1e-5,  # script
        warmup_share=0.05,  # script
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
