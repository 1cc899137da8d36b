"""Attention of the vision tower over many frames at once.

Without flash-attn the stock tower calls attention once per window (or frame) in a Python loop.
Windows of one length can share a call; frames of one video all have the same few lengths.
Registered through the library's own interface; a name with "flash" in it is what makes the tower
pass the borders of its windows instead of looping over them.

Axis letters: H heads, L patches, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from oncue.model.upload import upload

NAME = "oncue_flash_by_length"


def batch_vision_windows(model: Any) -> None:
    """Makes the vision tower of a Qwen-VL model compute windows of equal length together. Same
    values, fewer calls."""
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
    """Full attention inside each stretch between two borders of `cu_seq_lens_q`; (1, L, H, D)."""
    if cu_seq_lens_q is None:
        raise ValueError("the vision tower passed no window borders (cu_seq_lens_q)")
    windows = _windows(cu_seq_lens_q, query_1HLD.device)
    query, key, value = (t[0].transpose(0, 1) for t in (query_1HLD, key_1HLD, value_1HLD))
    if windows.order_L is None:
        return _attend(query, key, value, windows.groups[0][0], scaling)[None], None
    found = [
        _attend(query[rows], key[rows], value[rows], length, scaling)
        for length, rows in windows.groups
    ]
    return torch.cat(found)[windows.order_L][None], None


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Windows by their length: for each length the patches (L of them) in its windows. `order_L`
    puts what is found for one group after the other back in order; None where all windows are of
    one length."""

    groups: tuple[tuple[int, Tensor | None], ...]
    order_L: Tensor | None


# Windows by the tensor of their borders: all layers share it
_known: WeakIdKeyDictionary = WeakIdKeyDictionary()


def _windows(borders: Tensor, device: torch.device) -> _Windows:
    known: _Windows | None = _known.get(borders)
    if known is None:
        with torch.inference_mode(False):  # training uses them, too
            known = _known[borders] = _grouped((borders[1:] - borders[:-1]).tolist(), device)
    return known


def _grouped(lengths: list[int], device: torch.device) -> _Windows:
    if len(set(lengths)) == 1:
        return _Windows(((lengths[0], None),), None)
    starts: dict[int, list[int]] = {}
    at = 0
    for length in lengths:
        starts.setdefault(length, []).append(at)
        at += length
    rows = {
        n: (torch.tensor(begins)[:, None] + torch.arange(n)).flatten()
        for n, begins in starts.items()
    }
    order_L = upload(torch.argsort(torch.cat(list(rows.values()))), device)
    return _Windows(tuple((n, upload(each, device)) for n, each in rows.items()), order_L)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, length: int, scaling: float | None
) -> Tensor:
    """(L, H, D) attention inside consecutive stretches of `length`."""
    q, k, v = (t.unflatten(0, (-1, length)).transpose(1, 2) for t in (query, key, value))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling)
    return out.transpose(1, 2).flatten(0, 1)
