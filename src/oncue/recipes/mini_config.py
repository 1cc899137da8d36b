"""The shape of the mini models: a Qwen2.5-VL in small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oncue.render.qwen_vl import QwenVLRenderer


@dataclass(frozen=True, slots=True)
class MiniSizes:
    """What mini models differ in: tokens, the decoder, its rotary positions, and the width of the
    MLPs of the vision tower."""

    vocab_size: int
    hidden_size: int
    head_dim: int
    mlp_size: int
    num_layers: int
    rope_theta: float
    mrope_section: tuple[int, ...]
    vision_mlp_size: int

    def config(self, renderer: QwenVLRenderer) -> Any:
        """The settings of the model in transformers, with the tokens of `renderer`."""
        from transformers import Qwen2_5_VLConfig

        text = {
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.mlp_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.hidden_size // self.head_dim,
            "num_key_value_heads": self.hidden_size // self.head_dim,
            "max_position_embeddings": 32768,
            "initializer_range": 0.04,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self.rope_theta,
                "mrope_section": list(self.mrope_section),
            },
            "bos_token_id": None,
            "eos_token_id": renderer.im_end_id,
            "pad_token_id": renderer.endoftext_id,
            "tie_word_embeddings": True,
        }
        vision = {
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": self.vision_mlp_size,
            "num_heads": 2,
            "out_hidden_size": self.hidden_size,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1],
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        }
        return Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=renderer.image_pad_id,
            video_token_id=renderer.video_pad_id,
            vision_start_token_id=renderer.vision_start_id,
            vision_end_token_id=renderer.vision_end_id,
            tie_word_embeddings=True,
        )
