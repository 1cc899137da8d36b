"""Frames through the vision tower.

What the tower takes besides patches follows from the grids of the frames alone, and those of a
stream never change. So it is worked out once per sequence of grids, on the CPU: the stock tower
does it anew for every frame, and on a GPU waits for the device each time. Frames then flow through
without a wait, which is also what lets a CUDA graph hold them.

Axis letters: F frames, P patches of all frames, C values of a patch, V vision tokens of a frame, E
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from oncue.model.upload import upload
from oncue.render.base import Grid

_LAID_OUT = (
    "qwen2_vl",
    "qwen2_5_vl",
)  # Qwen3-VL interpolates its places, and is left to do that by itself


@dataclass(frozen=True, slots=True, eq=False)
class FrameLayout:
    """What the tower is given for frames of these grids. `options`: where patches and windows lie,
    worked out; empty where the tower does that itself, from grids on the device of the frames. Else
    the grids, and the borders that attention stays within, are on the CPU, where they are read."""

    grids_F3: Tensor
    options: dict[str, Tensor]


def encode_frames(
    model: Any, patches_PC: Tensor, grids: Sequence[Grid]
) -> list[tuple[Tensor, ...]]:
    """Per depth the vision tokens (V, E) of each frame: those that stand for the frame, then those
    that DeepStack adds to further layers. `patches_PC` of all frames, one after the other, on the
    device of the model."""
    return encode_laid_out(model, patches_PC, frame_layout(model, grids, patches_PC.device))


def encode_laid_out(
    model: Any, patches_PC: Tensor, layout: FrameLayout
) -> list[tuple[Tensor, ...]]:
    """The same for frames of which the layout is known."""
    return per_frame(model.model.get_image_features(patches_PC, layout.grids_F3, **layout.options))


def frame_layout(model: Any, grids: Sequence[Grid], device: torch.device) -> FrameLayout:
    """The layout for frames of these grids; the same object for those met lately."""
    if model.config.model_type not in _LAID_OUT:
        return FrameLayout(torch.tensor(grids, device=device), {})
    tower = model.model.visual
    window_px = getattr(
        tower, "window_size", None
    )  # of Qwen2.5-VL; every layer of Qwen2-VL sees the whole frame
    return _laid_out(
        tuple(grids), tower.spatial_merge_size, window_px, tower.patch_embed.patch_size, device
    )


@lru_cache(
    maxsize=48
)  # of 1, 2, 3, ... frames; those of a training batch are long, and hardly ever come again
def _laid_out(
    grids: tuple[Grid, ...],
    merge_size: int,
    window_px: int | None,
    patch_px: int,
    device: torch.device,
) -> FrameLayout:
    from transformers import vision_utils

    with torch.inference_mode(False):  # training uses them, too
        grids_F3 = torch.tensor(grids)
        options = {
            "position_ids": upload(
                vision_utils.get_vision_position_ids(grids_F3, merge_size), device
            ),
            "cu_seqlens": vision_utils.get_vision_cu_seqlens(grids_F3),
        }
        if window_px is not None:
            order, borders = vision_utils.get_vision_window_index(
                grids_F3, merge_size, window_px, patch_px
            )
            options |= {"window_index": upload(order, device), "cu_window_seqlens": borders}
    return FrameLayout(grids_F3, options)


def per_frame(output: Any) -> list[tuple[Tensor, ...]]:
    """Per depth the vision tokens (V, E) of each frame, from what `get_image_features` returns.
    Older versions of transformers leave those of further depths in one piece, and it is cut
    here."""
    frames = tuple(output.pooler_output)
    counts = [len(tokens) for tokens in frames]
    deeper = getattr(output, "deepstack_features", None) or ()
    return [
        frames,
        *(tuple(d.split(counts)) if isinstance(d, Tensor) else tuple(d) for d in deeper),
    ]
