"""The mini recipe: a Qwen2.5-VL of about a million parameters that learns to notice, from nothing, on two cores.

Two things make that possible. The curriculum goes from what changed between a few frames to long streams: trained on
streams from the start, the model falls silent for good. And the new model starts with attention heads that look where a
watcher must look (`_start_heads`): a large pretrained model has such heads, a new small one would spend most of its
training on finding them. The result is an ordinary checkpoint that nothing else treats specially.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oncue.dialogue.write import Placement
from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import DEFAULT_SYSTEM, PROACTIVE_SYSTEM, QwenVLRenderer
from oncue.render.tiny_tokenizer import save_tokenizer
from oncue.train.checkpoint import no_progress_bar
from oncue.train.sft import NEW_MODEL, SftConfig, Stage
from oncue.train.sources import WorldSource
from oncue.world.questions import vocabulary

MAX_PIXELS = 16 * 28 * 28  # at most 16 vision tokens per frame
VOCAB_SIZE = 512
HIDDEN_SIZE = 128
HEAD_DIM = 32
ROPE_THETA = 300.0
MROPE_SECTION = (3, 3, 10)  # the width axis comes last and has the lowest frequencies: it needs many to see places

# Distances, in positions, from a frame to the same place of the frame before: after a silent turn (by the shape of the
# frame) and after a reply.
STRIDES = (18.0, 19.0, 22.5)
STRIDE_GAIN = 120.0
# Distances from the end of a prompt to its frame, and to the left and right columns of that frame.
FRAME_DISTANCE, SIDE_DISTANCES, SIDE_GAIN = 9.5, (11.0, 5.0), 60.0


def build_mini(folder: Path, seed: int = 0) -> Path:
    """Writes a new, untrained mini model with its tokenizer and image processor to `folder`, in Hugging Face format."""
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    texts = [*vocabulary(), *[PROACTIVE_SYSTEM, DEFAULT_SYSTEM] * 100]
    save_tokenizer(texts, VOCAB_SIZE, folder)
    processor = FrameProcessor(min_pixels=4 * 28 * 28, max_pixels=MAX_PIXELS)
    processor.save_pretrained(folder)
    _complete_processor(folder)
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_config(QwenVLRenderer.from_pretrained(folder))).float()
    with torch.no_grad():
        _start_heads(model.model.language_model)
    with no_progress_bar():
        model.save_pretrained(folder)
    return folder


def _config(renderer: QwenVLRenderer) -> Any:
    from transformers import Qwen2_5_VLConfig

    text = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 3 * HIDDEN_SIZE,
        "num_hidden_layers": 4,
        "num_attention_heads": HIDDEN_SIZE // HEAD_DIM,
        "num_key_value_heads": HIDDEN_SIZE // HEAD_DIM,
        "max_position_embeddings": 32768,
        "initializer_range": 0.05,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROPE_THETA,
            "mrope_section": list(MROPE_SECTION),
        },
        "bos_token_id": None,
        "eos_token_id": renderer.im_end_id,
        "pad_token_id": renderer.endoftext_id,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_heads": 2,
        "out_hidden_size": HIDDEN_SIZE,
        "window_size": 112,
        "fullatt_block_indexes": [0, 1],
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "initializer_range": 0.05,
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


def _start_heads(decoder: Any) -> None:
    """Gives heads of the first two layers a place to look at, by the biases of their queries and keys.

    A query bias turned by -d * f against a key bias of the same length makes the attention of a head peak at distance d
    on every rotary frequency f. First layer: the same place of the frame before. Second layer: the newest frame, its
    left and its right columns. Everything stays trainable.
    """
    import torch

    num_frequencies = HEAD_DIM // 2
    frequencies = ROPE_THETA ** (-torch.arange(num_frequencies) / num_frequencies)
    axis = torch.repeat_interleave(torch.arange(3), torch.tensor(MROPE_SECTION))
    everywhere = torch.ones(num_frequencies)

    def aim(layer: int, head: int, distances: Any, used: Any, gain: float, *, place_only: bool) -> None:
        attention = decoder.layers[layer].self_attn
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        if place_only:
            attention.q_proj.weight[rows] = 0
            attention.k_proj.weight[rows] = 0
        angles = distances * frequencies
        attention.k_proj.bias[rows] = gain**0.5 * torch.cat([used, torch.zeros(num_frequencies)])
        attention.q_proj.bias[rows] = gain**0.5 * torch.cat([used * torch.cos(angles), -used * torch.sin(angles)])

    for head, stride in enumerate(STRIDES):
        aim(0, head, torch.full((num_frequencies,), stride), everywhere, STRIDE_GAIN, place_only=True)
    for head, side in enumerate(SIDE_DISTANCES):
        distances = torch.where(axis == 0, FRAME_DISTANCE, side)
        aim(1, head, distances, (axis != 1).float(), SIDE_GAIN, place_only=False)


def _complete_processor(folder: Path) -> None:
    """Names the stock processor, so that transformers users with torchvision can load the folder by AutoProcessor."""
    image = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    video = {**image, "video_processor_type": "Qwen2VLVideoProcessor"}
    video.pop("image_processor_type", None)
    config = {"processor_class": "Qwen2_5_VLProcessor", "image_processor": image, "video_processor": video}
    (folder / "processor_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    path = folder / "tokenizer_config.json"
    tokenizer = {**json.loads(path.read_text("utf-8")), "processor_class": "Qwen2_5_VLProcessor"}
    path.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False) + "\n", "utf-8")


def mini_sft() -> SftConfig:
    """Every setting of the bundled model's training; `model` "new" builds an untrained one first."""

    def stage(name: str, num_turns: tuple[int, int], num_steps: int, batch_size: int, **options: Any) -> Stage:
        source = WorldSource(num_turns=num_turns, placement=Placement.START, **options)
        return Stage(name, source, batch_size, num_steps)

    return SftConfig(
        model=NEW_MODEL,
        stages=(
            stage("changes", (3, 3), 1500, 48, mean_gap_s=0.2, empty_share=0.05, system=DEFAULT_SYSTEM),
            stage("short", (4, 8), 1500, 24, mean_gap_s=1.0),
            stage("long", (8, 24), 800, 10, mean_gap_s=2.5),
        ),
        frame_interval_s=1.0,
        frames_per_turn=1,
        learning_rate=1.5e-3,
        warmup_share=0.02,
        final_learning_rate_share=0.05,
        weight_decay=0.01,
        betas=(0.9, 0.98),
        max_tokens=4096,
        micro_batch_size=64,
        freeze_vision=False,
        gradient_checkpointing=False,
        log_every_steps=50,
    )
