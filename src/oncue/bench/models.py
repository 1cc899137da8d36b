"""Models with random weights to measure on: Qwen2.5-VL of any size, built in memory.

A measurement needs a model that behaves in a known way, which random weights do not. So a few
values are set by hand. A forward still does the work of the architecture: every matrix has its size
and is multiplied as ever.

Three units in the MLP of the last layer say NO REPLY, one per step from the end of the prompt to
the closing mark: each reads the embedding of one token and writes that of the next into the
residual stream, which the output layer reads.

silent  All other weights are so small that the stream stays close to the embedding of the token
itself. So every turn
        is silent, whatever is shown.
mixed   All other weights are so large that what was shown and said before decides the next token,
and the first of the
        three units opens for one half of what may be in the stream. So some turns are silent and
        some are not, with texts of different lengths.
wordy   The three units are left out, and the closing mark is never the likeliest token. So every
        greedy answer is as long as the token limit allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from oncue.hub import BUNDLED_NAME
from oncue.model.fast_layers import use_fast_layers
from oncue.model.loading import LoadedModel
from oncue.render.decision import Lead
from oncue.render.qwen_vl import QwenVLRenderer

Behaviour = Literal["silent", "mixed", "wordy"]

# Of a mixed model, found by trial: what is said differs from turn to turn, and rounding errors are
# not blown up.
MATRIX_GAIN, QUERY_GAIN, CLOSING_SCALE, GATE_GAIN = 1.2, 2.0, 2.0, 2.0
SILENCE_SHARE = (
    0.5  # of the length of an output row: how far those of the silent answer read its embeddings
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a Qwen2.5-VL. `full_attention_layers` are those of the vision encoder that see a
    whole frame."""

    name: str
    hidden_size: int
    mlp_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocab_size: int
    mrope_section: tuple[int, int, int]
    vision_depth: int
    vision_hidden_size: int
    vision_mlp_size: int
    vision_num_heads: int
    full_attention_layers: tuple[int, ...]
    tied: bool = False
    max_positions: int = 128_000


SHAPE_1M = Shape("1M", 128, 384, 4, 4, 2, 1024, (4, 6, 6), 2, 64, 192, 2, (1,))
SHAPE_15M = Shape("15M", 384, 1024, 6, 6, 2, 4096, (8, 12, 12), 4, 192, 512, 4, (3,))
# config.json of Qwen2.5-VL-3B-Instruct
SHAPE_3B = Shape(
    "Qwen2.5-VL-3B",
    2048,
    11008,
    36,
    16,
    2,
    151_936,
    (16, 24, 24),
    32,
    1280,
    3420,
    16,
    (7, 15, 23, 31),
    tied=True,
)


def random_model(
    shape: Shape,
    behaviour: Behaviour,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    seed: int = 0,
    max_pixels: int | None = None,
) -> LoadedModel:
    """A model of `shape` with random weights, ready to run. Text and frames are prepared as for the
    bundled model.

    `max_pixels` caps the area of a frame in place of the bundled model's cap.
    """
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VLForConditionalGeneration,
    )

    renderer = QwenVLRenderer.from_pretrained(BUNDLED_NAME, max_pixels)
    mixed = behaviour == "mixed"
    std = (
        MATRIX_GAIN * shape.hidden_size**-0.5
        if mixed
        else (shape.hidden_size * shape.num_layers) ** -0.5
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration._from_config(
            config_of(shape, renderer, std), dtype=dtype, attn_implementation="sdpa"
        )
    with torch.no_grad():
        if behaviour == "wordy":
            model.lm_head.weight[renderer.im_end_id] = 0
        else:
            _set_by_hand(model, renderer, mixed, torch.Generator().manual_seed(seed))
    use_fast_layers(model)
    return LoadedModel(model.eval(), renderer, device, dtype, f"random {shape.name}, {behaviour}")


def config_of(shape: Shape, renderer: QwenVLRenderer, initializer_range: float = 0.02) -> Any:
    """The transformers config of `shape`."""
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig

    text = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.mlp_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "max_position_embeddings": shape.max_positions,
        "initializer_range": initializer_range,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": list(shape.mrope_section),
        },
        "bos_token_id": None,
        "eos_token_id": renderer.im_end_id,
        "pad_token_id": renderer.endoftext_id,
        "tie_word_embeddings": shape.tied,
    }
    vision = {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden_size,
        "intermediate_size": shape.vision_mlp_size,
        "num_heads": shape.vision_num_heads,
        "out_hidden_size": shape.hidden_size,
        "window_size": 112,
        "fullatt_block_indexes": list(shape.full_attention_layers),
        "initializer_range": initializer_range,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=renderer.image_pad_id,
        video_token_id=renderer.video_pad_id,
        vision_start_token_id=renderer.vision_start_id,
        vision_end_token_id=renderer.vision_end_id,
        tie_word_embeddings=shape.tied,
    )


def _set_by_hand(
    model: Any, renderer: QwenVLRenderer, mixed: bool, random: torch.Generator
) -> None:
    """See the first lines of this module. Embeddings get standard deviation 1."""
    decoder, head_VE = model.model.language_model, model.lm_head.weight
    embedding_VE = model.get_input_embeddings().weight
    embedding_VE.div_(embedding_VE.std())
    if mixed:
        head_VE[renderer.im_end_id] *= CLOSING_SCALE
        for layer in decoder.layers:
            layer.self_attn.q_proj.weight *= QUERY_GAIN
    prompt_end = int(renderer.user_turn_ids((), (), Lead.CLOSED)[-1])
    steps = zip((prompt_end, *renderer.silence_ids), renderer.silence_ids, strict=False)
    head_length = float(head_VE[0].norm())
    mlp = decoder.layers[-1].mlp
    for unit, (before, after) in enumerate(steps):
        towards_E = embedding_VE[before] / embedding_VE[before].norm()
        mlp.up_proj.weight[unit] = towards_E
        if mixed and unit == 0:
            drawn_E = torch.randn(len(towards_E), generator=random)
            mlp.gate_proj.weight[unit] = GATE_GAIN * drawn_E / drawn_E.norm()
        else:
            mlp.gate_proj.weight[unit] = towards_E
        mlp.down_proj.weight[:, unit] = embedding_VE[after]
        if head_VE is not embedding_VE:
            head_VE[after] += (
                SILENCE_SHARE * head_length * embedding_VE[after] / embedding_VE[after].norm()
            )
