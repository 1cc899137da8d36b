"""A new mini model: a Qwen2.5-VL of about a million parameters, with a start that lets two cores teach it to notice.

A pretrained model has circuits that compare what it sees with what it saw; a small new one would need most of its
training to find them (with a plain start, a thousand steps left it silent or guessing). So the new model is given a
rough one by hand. These are ordinary weights; the recipe says which it trains. The result is an ordinary checkpoint
that nothing treats specially.

    layer 1 attention   each place of the newest frame looks at the same place of the frame before, at the distances at
                        which that frame lies after a silent turn and after short replies, and writes "now minus before"
                        into scratch channels, one set per distance
    layer 1 MLP         the energy of each set of scratch channels becomes one "changed" channel
    layer 2 attention   the end of the prompt reads what changed most on the left and on the right of the newest frame
    layer 3 attention   the end of the prompt reads what changed most anywhere in the newest frame

Channels of the residual stream: features [0, 76), changed 76..78, spare 79, scratch [80, 128) in three sets of 16.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oncue.clock import Clock
from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import DEFAULT_SYSTEM, PROACTIVE_SYSTEM, QwenVLRenderer
from oncue.render.tiny_tokenizer import save_tokenizer
from oncue.train.checkpoint import no_progress_bar
from oncue.world.clip import make_clip
from oncue.world.questions import vocabulary

MAX_PIXELS = 20 * 28 * 28  # 16:9 and 4:3 frames become 3 x 5 vision tokens
VOCAB_SIZE = 768
HIDDEN_SIZE, HEAD_DIM, NUM_LAYERS, MLP_SIZE = 128, 32, 4, 384
ROPE_THETA = 300.0
MROPE_SECTION = (2, 2, 12)  # the width axis comes last and has the lowest frequencies: it needs many to tell columns

NUM_FEATURES, SCRATCH_SIZE = 76, 16
CHANGED_CHANNELS = (76, 77, 78)
SCRATCH_SETS = tuple(slice(80 + 16 * i, 96 + 16 * i) for i in range(3))

# Positions from a place to the same place of the frame before: after silence, after a reply of 5 or of 6 tokens.
STRIDES = (19.0, 22.0, 23.0)
STRIDE_GAIN = 300.0
# Positions from the end of a prompt to its frame (time axis), to the frame's left and right columns, to its middle.
FRAME_DISTANCE, LEFT_DISTANCE, RIGHT_DISTANCE, MIDDLE_DISTANCE = 10.0, 10.5, 5.5, 8.0
SIDE_GAIN, SIDE_CHANGED_GAIN, NEWEST_GAIN, CHANGED_GAIN = 60.0, 2.0, 40.0, 4.0
EMBEDDING_STD, WRITE_SCALE, FINAL_NORM = 0.4, 0.4, 0.12


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
        _scale_inputs(model, processor)
        _Start(model.model.language_model).apply()
    with no_progress_bar():
        model.save_pretrained(folder)
    return folder


def _config(renderer: QwenVLRenderer) -> Any:
    from transformers import Qwen2_5_VLConfig

    text = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": MLP_SIZE,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": HIDDEN_SIZE // HEAD_DIM,
        "num_key_value_heads": HIDDEN_SIZE // HEAD_DIM,
        "max_position_embeddings": 32768,
        "initializer_range": 0.04,
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


def _scale_inputs(model: Any, processor: FrameProcessor) -> None:
    """Brings words and places to the same size, with nothing in the channels kept for the start.

    Places are centred and scaled over frames of the `footage` world; new weights give features twenty times too small.
    """
    import torch

    embedding = model.get_input_embeddings().weight
    embedding.mul_(EMBEDDING_STD / embedding.std())
    embedding[:, NUM_FEATURES:] *= 0.1
    frames = [make_clip("footage", "train", i, duration_s=(3.0, 3.0)).grid_frames(Clock(1.0))[-1] for i in range(48)]
    patched = [processor(frame) for frame in frames]
    patches = torch.cat([torch.from_numpy(frame.patches) for frame in patched])
    grids = torch.tensor([frame.grid for frame in patched])
    features = torch.cat(list(model.model.get_image_features(patches, grids).pooler_output))[:, :NUM_FEATURES]
    scale = EMBEDDING_STD / features.std(0).mean()
    last = model.model.visual.merger.mlp[2]
    last.weight.mul_(scale)
    last.bias[:NUM_FEATURES] = (last.bias[:NUM_FEATURES] - features.mean(0)) * scale
    last.weight[NUM_FEATURES:] = 0
    last.bias[NUM_FEATURES:] = 0


class _Start:
    """Writes the rough circuit into a decoder. See the module's first lines for what it does."""

    def __init__(self, decoder: Any) -> None:
        import torch

        self.torch, self.decoder = torch, decoder
        num_frequencies = HEAD_DIM // 2
        self.frequencies = ROPE_THETA ** (-torch.arange(num_frequencies) / num_frequencies)
        self.axis = torch.repeat_interleave(torch.arange(3), torch.tensor(MROPE_SECTION))

    def apply(self) -> None:
        self.decoder.norm.weight.fill_(FINAL_NORM)
        self._compare()
        self._sum_up_change()
        self._read_sides()
        self._read_changed()

    def _aim(self, layer: int, head: int, distances: Any, used: Any, gain: float) -> None:
        """Makes a head look `distances` positions back on the rotary frequencies `used`, whatever stands there.

        A query bias turned by -distance * frequency against a key bias: their product peaks at that distance.
        """
        attention = self.decoder.layers[layer].self_attn
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        angles, none = distances * self.frequencies, self.torch.zeros(HEAD_DIM // 2)
        attention.k_proj.bias[rows] = gain**0.5 * self.torch.cat([used, none])
        attention.q_proj.bias[rows] = gain**0.5 * self.torch.cat(
            [used * self.torch.cos(angles), -used * self.torch.sin(angles)]
        )

    def _directions(self, count: int, size: int = HIDDEN_SIZE) -> Any:
        """(count, size): random directions at right angles."""
        return self.torch.linalg.qr(self.torch.randn(size, size))[0][:count]

    def _compare(self) -> None:
        """Layer 1: three heads take away what was there before, the fourth, which sees itself, adds what is there."""
        attention = self.decoder.layers[0].self_attn
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
            projection.weight.zero_()
        read = self._directions(SCRATCH_SIZE, NUM_FEATURES)
        write = WRITE_SCALE * self.torch.eye(SCRATCH_SIZE)
        everywhere = self.torch.ones(HEAD_DIM // 2)
        for head, stride in enumerate((*STRIDES, 0.0)):
            self._aim(0, head, self.torch.full_like(everywhere, stride), everywhere, STRIDE_GAIN)
            columns = slice(head * HEAD_DIM, head * HEAD_DIM + SCRATCH_SIZE)
            attention.v_proj.weight[columns, :NUM_FEATURES] = read
            for index, scratch in enumerate(SCRATCH_SETS):
                if head == len(STRIDES):
                    attention.o_proj.weight[scratch, columns] = write
                elif head == index:
                    attention.o_proj.weight[scratch, columns] = -write

    def _sum_up_change(self) -> None:
        """Layer 1, MLP: gate and input read the same direction, so that a unit gives about its square."""
        mlp = self.decoder.layers[0].mlp
        for index, (scratch, channel) in enumerate(zip(SCRATCH_SETS, CHANGED_CHANNELS, strict=True)):
            units = slice(32 * index, 32 * (index + 1))
            directions = self.torch.randn(32, SCRATCH_SIZE)
            read = self.torch.zeros(32, HIDDEN_SIZE)
            read[:, scratch] = 1.5 * directions / directions.norm(dim=1, keepdim=True)
            mlp.gate_proj.weight[units] = read
            mlp.up_proj.weight[units] = read
            mlp.down_proj.weight[:, units] = 0
            mlp.down_proj.weight[channel, units] = 0.05

    def _read_sides(self) -> None:
        """Layer 2: per side of the newest frame, what changed since silence, and what changed since a reply."""
        left, right = (self.torch.where(self.axis == 0, FRAME_DISTANCE, d) for d in (LEFT_DISTANCE, RIGHT_DISTANCE))
        used = (self.axis != 1).float()
        used[-1] = 0
        for head, (distances, channels) in enumerate(
            [(d, c) for c in (CHANGED_CHANNELS[:1], CHANGED_CHANNELS[1:]) for d in (left, right)]
        ):
            self._aim(1, head, distances, used, SIDE_GAIN)
            self._prefer_changed(1, head, channels, SIDE_CHANGED_GAIN)

    def _read_changed(self) -> None:
        """Layer 3: what changed most in the newest frame; one head per channel."""
        used = self.torch.zeros(HEAD_DIM // 2)
        used[[0, 1, 4, 5, 6]] = 1
        distances = self.torch.where(self.axis == 0, FRAME_DISTANCE, MIDDLE_DISTANCE)
        for head, channel in enumerate(CHANGED_CHANNELS):
            self._aim(2, head, distances, used, NEWEST_GAIN)
            self._prefer_changed(2, head, (channel,), CHANGED_GAIN)

    def _prefer_changed(self, layer: int, head: int, channels: tuple[int, ...], gain: float) -> None:
        """Adds content to a head's aim: places with much of `channels` draw it, and it passes on what it finds."""
        attention = self.decoder.layers[layer].self_attn
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        slowest = rows.start + HEAD_DIM // 2 - 1  # turns so slowly with distance that only the content counts on it
        attention.q_proj.weight[rows] = 0
        attention.k_proj.weight[rows] = 0
        attention.q_proj.bias[slowest] = gain
        attention.k_proj.weight[slowest, list(channels)] = gain
        read = self._directions(HEAD_DIM)
        for index, channel in enumerate(CHANGED_CHANNELS):
            read[index] = 0
            read[index, channel] = 1
        attention.v_proj.weight[rows] = read
        attention.o_proj.weight[:, rows] = WRITE_SCALE * self._directions(HEAD_DIM).T


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
