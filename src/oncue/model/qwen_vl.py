"""The models that `render.qwen_vl` renders for: Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

Axis letters: F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from oncue.model.model_family import FrameLayout, ModelFamily
from oncue.render.base import Grid

if TYPE_CHECKING:
    import torch

_VISION = "model.visual."
_MERGER, _DEEP_MERGERS = "model.visual.merger.", "model.visual.deepstack_merger_list."


def _lay_out(tower: Any, grids: Sequence[Grid], device: torch.device) -> FrameLayout:
    """The layout for frames of these grids; the same object for those met lately."""
    # of Qwen2.5-VL; every layer of Qwen2-VL sees the whole frame
    window_px = getattr(tower, "window_size", None)
    return _laid_out(
        tuple(grids), tower.spatial_merge_size, window_px, tower.patch_embed.patch_size, device
    )


# Of 1, 2, 3, ... frames; those of a training batch are long, and hardly ever come again.
@lru_cache(maxsize=48)
def _laid_out(
    grids: tuple[Grid, ...],
    merge_size: int,
    window_px: int | None,
    patch_px: int,
    device: torch.device,
) -> FrameLayout:
    import torch
    from transformers import vision_utils

    from oncue.model.upload import upload

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


QWEN2_VL = ModelFamily(
    "qwen2_vl",
    "Qwen2VLForConditionalGeneration",
    rms_norms=("Qwen2VLRMSNorm",),
    vision_prefix=_VISION,
    merger_prefixes=(_MERGER,),
    lay_out=_lay_out,
)
QWEN2_5_VL = ModelFamily(
    "qwen2_5_vl",
    "Qwen2_5_VLForConditionalGeneration",
    rms_norms=("Qwen2_5_VLRMSNorm",),
    vision_prefix=_VISION,
    merger_prefixes=(_MERGER,),
    lay_out=_lay_out,
)
# Its tower interpolates the places of patches, and is left to do that by itself.
QWEN3_VL = ModelFamily(
    "qwen3_vl",
    "Qwen3VLForConditionalGeneration",
    rms_norms=("Qwen3VLTextRMSNorm",),
    vision_prefix=_VISION,
    merger_prefixes=(_MERGER, _DEEP_MERGERS),
)
