"""The hardware's limit for one decision: bytes to be read and operations to be done, over the
chip's peaks.

A forward reads the weights once, whatever the batch, and the keys and values of every stream.
Vision encoder and decoder run one after the other, each limited by memory or by arithmetic,
whichever takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Chip:
    """Peaks of a chip: memory bandwidth, and dense bfloat16 operations. `published` by its maker,
    or else measured."""

    name: str
    bytes_per_s: float
    flops_per_s: float
    published: bool


# Data sheets of NVIDIA: memory bandwidth and dense bfloat16 tensor throughput. The first name that
# fits counts.
_PUBLISHED = (
    ("H200 NVL", 4.8e12, 835e12),
    ("H200", 4.8e12, 989e12),
    ("H100 NVL", 3.9e12, 835e12),
    ("H100 PCIe", 2.0e12, 756e12),
    ("H100", 3.35e12, 989e12),
    ("A100-SXM4-80GB", 2.039e12, 312e12),
    ("A100 80GB", 1.935e12, 312e12),
    ("A100", 1.555e12, 312e12),
)


@dataclass(frozen=True, slots=True)
class Work:
    """What a decision costs: bytes of weights, bytes of keys and values, operations. See
    `work_of`."""

    vision_weight_bytes: int
    text_weight_bytes: int
    kv_bytes_per_token: int
    vision_flops: float
    text_flops_per_token: float
    attention_flops_per_pair: float
    head_flops: float

    def seconds(self, chip: Chip, num_streams: int, num_new: int, num_context: int) -> float:
        """Least time for one decision of each of `num_streams` streams, in one forward.

        Each shows one frame and puts `num_new` tokens behind `num_context` others.
        """
        vision_s = max(
            self.vision_weight_bytes / chip.bytes_per_s,
            num_streams * self.vision_flops / chip.flops_per_s,
        )
        read_bytes = self.text_weight_bytes + num_streams * num_context * self.kv_bytes_per_token
        text_s = max(
            read_bytes / chip.bytes_per_s,
            num_streams * self.text_flops(num_new, num_context) / chip.flops_per_s,
        )
        return vision_s + text_s

    def text_flops(self, num_new: int, num_context: int) -> float:
        """Operations of the decoder for one stream, one logit read."""
        attention = self.attention_flops_per_pair * num_new * num_context
        return self.text_flops_per_token * num_new + attention + self.head_flops


def work_of(model: Any, num_patches: int, bytes_per_weight: int) -> Work:
    """What decisions of this Qwen-VL model cost, with frames of `num_patches`. Two operations per
    weight and input.

    The weights of a patch merger see one input per vision token, all others of the vision encoder
    one per patch; of a table of positions a few rows (it counts as read, which is little too much).
    """
    vision, decoder = model.model.visual, model.model.language_model
    text, seen = model.config.get_text_config(), model.config.vision_config
    mergers = [vision.merger, *getattr(vision, "deepstack_merger_list", ())]
    num_merger, num_head = (
        sum(_num_params(merger) for merger in mergers),
        prod(model.lm_head.weight.shape),
    )
    num_vision = _num_params(vision)
    num_looked_up = _num_params(vision.pos_embed) if hasattr(vision, "pos_embed") else 0
    num_text = _num_params(decoder) - decoder.get_input_embeddings().weight.numel()
    merged = num_patches / seen.spatial_merge_size**2
    # Other families have no windows
    num_full = len(getattr(seen, "fullatt_block_indexes", range(seen.depth)))
    window = min(num_patches, (getattr(seen, "window_size", 0) // seen.patch_size) ** 2)
    width = getattr(seen, "embed_dim", seen.hidden_size)
    pairs = num_patches * (num_full * num_patches + (seen.depth - num_full) * window)
    attention = decoder.layers[
        0
    ].self_attn  # heads may be wider than their share of the hidden size
    return Work(
        num_vision * bytes_per_weight,
        (num_text + num_head) * bytes_per_weight,
        text.num_hidden_layers
        * (attention.k_proj.out_features + attention.v_proj.out_features)
        * bytes_per_weight,
        2 * (num_vision - num_merger - num_looked_up) * num_patches
        + 2 * num_merger * merged
        + 4 * pairs * width,
        2 * num_text,
        4 * attention.q_proj.out_features * text.num_hidden_layers,
        2 * num_head,
    )


def chip_of(device: torch.device) -> Chip:
    """The peaks of the chip behind `device`: those its maker publishes, or else what it does in a
    moment of trying."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    for part, bytes_per_s, flops_per_s in _PUBLISHED:
        if part in name:
            return Chip(name, bytes_per_s, flops_per_s, published=True)
    return measured_chip(name, device)


def measured_chip(
    name: str, device: torch.device, *, side: int = 8192, num_bytes: int = 1 << 30
) -> Chip:
    """Peaks found by copying `num_bytes` and by multiplying two bfloat16 matrices of `side` rows
    and columns."""
    source = torch.empty(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    left, right = (torch.ones(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    copy_s = _least_s(lambda: target.copy_(source), device)
    multiply_s = _least_s(lambda: left @ right, device)
    return Chip(name, 2 * num_bytes / copy_s, 2 * side**3 / multiply_s, published=False)


def _least_s(work: Callable[[], object], device: torch.device, num_times: int = 5) -> float:
    took_s = []
    for _ in range(num_times):
        _wait(device)
        started_s = time.perf_counter()
        work()
        _wait(device)
        took_s.append(time.perf_counter() - started_s)
    return min(took_s)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _num_params(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
