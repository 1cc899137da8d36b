"""Frames through the vision tower.

What the tower takes besides patches follows from the grids of the frames alone, and those of a
stream never change. So it is worked out once per sequence of grids, on the CPU: the stock tower
does it again for every frame, and on a GPU waits for the device each time. Frames then flow through
without a wait, which is also what lets a CUDA graph hold them.

Axis letters: F frames, P patches of all frames, C values of a patch, V vision tokens of a frame, E
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from oncue.model.known_families import family_of
from oncue.model.model_family import FrameLayout
from oncue.render.base import Grid


def encode_frames(
    model: Any, patches_PC: Tensor, grids: Sequence[Grid]
) -> list[tuple[Tensor, ...]]:
    """Per depth the vision tokens (V, E) of each frame: those of the frame itself, then those
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
    lay_out = family_of(model.config.model_type).lay_out
    if lay_out is None:
        return FrameLayout(torch.tensor(grids, device=device), {})
    return lay_out(model.model.visual, grids, device)


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
