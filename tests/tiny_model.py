"""A tiny random Qwen2.5-VL in Hugging Face format, and turns to show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oncue.types import EnvTurn, FrameBatch

TINY_VOCAB = 512
TINY_TEXTS = (
    "Something red appears on the left.",
    "It leaves. Something blue appears on the right.",
    "Tell me whenever something moves, and how many squares there are.",
)


def build_tiny_model(folder: Path, seed: int = 0, **text_changes: object) -> Path:
    """Writes a random model of about 0.4 M parameters to `folder`; `text_changes` overrides its text config.

    Random weights of the usual size give a model that hardly sees positions and never closes a turn. So they are larger
    here, and the row of the closing token is scaled up until it wins now and then.
    """
    import torch
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration

    from oncue.render.images import FrameProcessor
    from oncue.render.tiny_tokenizer import save_tokenizer

    tokenizer = save_tokenizer(TINY_TEXTS, TINY_VOCAB, folder)
    text = {
        "vocab_size": TINY_VOCAB,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "initializer_range": 0.15,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        **text_changes,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": text["hidden_size"],
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "initializer_range": 0.15,
    }
    marks = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=False,
        **{name: tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight[text["eos_token_id"]] *= 2.5
    model.save_pretrained(folder)
    FrameProcessor(max_pixels=16 * 28 * 28).save_pretrained(folder)
    return folder


def random_turn(random: np.random.Generator, clock_s: float, num_frames: int = 1, text: str = "") -> EnvTurn:
    """A turn of `num_frames` frames of coarse noise, 56x84 pixels: six vision tokens each."""
    coarse = random.integers(0, 256, (num_frames, 4, 6, 3), dtype=np.uint8)
    pixels = coarse.repeat(14, axis=1).repeat(14, axis=2)
    return EnvTurn(FrameBatch(pixels, np.full(num_frames, clock_s)), clock_s, text)
