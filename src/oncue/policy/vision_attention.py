"""Attention of the vision tower over many frames at once.

Without flash-attn the stock tower calls attention once per window (or frame) in a Python loop. Windows of one length
can share a call; frames of one video all have the same few lengths. Registered through the library's own interface; a
name with "flash" in it is what makes the tower pass the borders of its windows instead of looping over them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAME = "oncue_flash_by_length"


def batch_vision_windows(model: Any) -> None:
    """Makes the vision tower of a Qwen-VL model compute windows of equal length together. Same values, fewer calls."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend_by_length)
    model.model.visual.config._attn_implementation = NAME


def attend_by_length(
    module: Any,  # noqa: ARG001
    query_1HLD: Tensor,
    key_1HLD: Tensor,
    value_1HLD: Tensor,
    attention_mask: Tensor | None = None,  # noqa: ARG001
    scaling: float | None = None,
    dropout: float = 0.0,  # noqa: ARG001
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Full attention inside each stretch between two borders of `cu_seq_lens_q`; (1, L, H, D).

    Axis letters: H heads, L patches, D head width.
    """
    if cu_seq_lens_q is None:
        raise ValueError("the vision tower passed no window borders (cu_seq_lens_q)")
    lengths = (cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist()
    query, key, value = (t[0].transpose(0, 1) for t in (query_1HLD, key_1HLD, value_1HLD))
    if len(set(lengths)) == 1:
        return _attend(query, key, value, lengths[0], scaling)[None], None
    starts: dict[int, list[int]] = {}
    at = 0
    for length in lengths:
        starts.setdefault(length, []).append(at)
        at += length
    found, order = [], []
    for length, begins in starts.items():
        rows = (torch.tensor(begins)[:, None] + torch.arange(length)).flatten().to(query.device)
        found.append(_attend(query[rows], key[rows], value[rows], length, scaling))
        order.append(rows)
    back = torch.argsort(torch.cat(order))
    return torch.cat(found)[back][None], None


def _attend(query: Tensor, key: Tensor, value: Tensor, length: int, scaling: float | None) -> Tensor:
    """(L, H, D) attention inside consecutive stretches of `length`."""
    q, k, v = (t.unflatten(0, (-1, length)).transpose(1, 2) for t in (query, key, value))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling)
    return out.transpose(1, 2).flatten(0, 1)
