"""Tiny random models of every family in Hugging Face format, and turns to show them."""

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


FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_CLOSING_SCALE = {"qwen2_vl": 4.0, "qwen2_5_vl": 2.5, "qwen3_vl": 6.0}
_PATCH_PX = {"qwen2_vl": 14, "qwen2_5_vl": 14, "qwen3_vl": 16}


def build_tiny_model(
    folder: Path, seed: int = 0, family: str = "qwen2_5_vl", **text_changes: object
) -> Path:
    """Writes a random model of about 0.4 M parameters to `folder`; `text_changes` overrides its
    text config.

    Random weights of the usual size give a model that hardly sees positions and never closes a
    turn. So they are larger here, and the row of the closing token is scaled up until it wins now
    and then.
    """
    import torch

    from oncue.model.known_families import family_of
    from oncue.render.images import CLIP_MEAN, CLIP_STD, FrameProcessor
    from oncue.render.tiny_tokenizer import save_tokenizer

    tokenizer = save_tokenizer(TINY_TEXTS, TINY_VOCAB, folder)
    marks = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    closing_id, padding_id = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    text = {
        **_text_config(family),
        "eos_token_id": closing_id,
        "pad_token_id": padding_id,
        **text_changes,
    }
    kind = family_of(family).model_class()
    config = kind.config_class(
        text_config=text,
        vision_config=_vision_config(family, text["hidden_size"]),
        tie_word_embeddings=False,
        **{name: tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config)
    with torch.no_grad():
        model.lm_head.weight[text["eos_token_id"]] *= _CLOSING_SCALE[family]
    model.save_pretrained(folder)
    patch, cell_area = _PATCH_PX[family], (2 * _PATCH_PX[family]) ** 2
    mean, std = ((0.5,) * 3, (0.5,) * 3) if family == "qwen3_vl" else (CLIP_MEAN, CLIP_STD)
    limits = {"min_pixels": 4 * cell_area, "max_pixels": 16 * cell_area}
    FrameProcessor(patch_size=patch, mean=mean, std=std, **limits).save_pretrained(folder)
    return folder


def _text_config(family: str) -> dict[str, object]:
    text: dict[str, object] = {
        "vocab_size": TINY_VOCAB,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "initializer_range": 0.15,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 100.0,
            "mrope_section": [2, 3, 3],
        },
        "bos_token_id": None,
    }
    if (
        family == "qwen3_vl"
    ):  # heads wider than their share of the hidden size, like the released ones
        rope = {
            "rope_type": "default",
            "rope_theta": 100.0,
            "mrope_section": [4, 4, 4],
            "mrope_interleaved": True,
        }
        text |= {"head_dim": 24, "rope_parameters": rope}
    return text


def _vision_config(family: str, width: object) -> dict[str, object]:
    vision = {"num_heads": 2, "initializer_range": 0.15}
    if family == "qwen2_vl":
        return {**vision, "depth": 2, "embed_dim": 32, "mlp_ratio": 2, "hidden_size": width}
    vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": width}
    if family == "qwen2_5_vl":
        return {**vision, "depth": 2, "window_size": 112, "fullatt_block_indexes": [1]}
    return {**vision, "depth": 3, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}


def random_turn(
    random: np.random.Generator, clock_s: float, num_frames: int = 1, text: str = ""
) -> EnvTurn:
    """A turn of `num_frames` frames of coarse noise, 56x84 pixels: six vision tokens each, in every
    family."""
    coarse = random.integers(0, 256, (num_frames, 4, 6, 3), dtype=np.uint8)
    pixels = coarse.repeat(14, axis=1).repeat(14, axis=2)
    return EnvTurn(FrameBatch(pixels, np.full(num_frames, clock_s)), clock_s, text)


def mixed_turn(random: np.random.Generator, clock_s: float, text: str = "") -> EnvTurn:
    """A turn that shows text and frames by turns: frames of two sizes, some with a mark; `text`
    comes last."""
    small, large = (random_turn(random, clock_s, num_frames).frames for num_frames in (2, 1))
    marked = FrameBatch(small.pixels, small.pts_s, ("frame 3", ""))
    wide = FrameBatch(large.pixels.repeat(2, axis=2), large.pts_s, (f"{clock_s:05.2f}",))
    return EnvTurn(["On the left:", marked, " moves ", wide, text], clock_s)
