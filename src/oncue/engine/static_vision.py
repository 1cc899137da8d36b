"""Frames through the vision tower at fixed shapes: on a GPU, a graph for each number of frames of
one grid.

Axis letters as in `vision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from oncue.engine.encoder_cache import Grid
from oncue.model.cuda_graphs import Graphs
from oncue.model.upload import upload
from oncue.model.vision import FrameLayout, encode_laid_out, frame_layout

_MAX_SHAPES = 16  # each keeps what goes in and comes out; frames of further shapes go the plain way


class StaticVision:
    """The vision tower of `model` for up to `max_frames` frames of one grid."""

    def __init__(self, model: Any, graphs: Graphs, max_frames: int) -> None:
        self._model, self._graphs, self._max_frames = model, graphs, max_frames
        self._shapes: dict[
            tuple[Grid, ...], tuple[Tensor, FrameLayout]
        ] = {}  # where patches go, and how they lie

    def encode(
        self, patches_PC: Tensor, grids: Sequence[Grid], device: torch.device
    ) -> list[tuple[Tensor, ...]] | None:
        """As `encode_frames`, for patches on the CPU; valid until the next forward. None: these go
        the plain way."""
        key = tuple(grids)
        if len(key) > self._max_frames or len(set(key)) > 1:
            return None
        if key not in self._shapes:
            layout = frame_layout(self._model, grids, device)
            if not layout.options or len(self._shapes) == _MAX_SHAPES:
                return None
            with torch.inference_mode(False):
                self._shapes[key] = (
                    torch.zeros(patches_PC.shape, dtype=patches_PC.dtype, device=device),
                    layout,
                )
        place_PC, layout = self._shapes[key]
        place_PC.copy_(upload(patches_PC, device))
        return self._graphs.run(
            ("frames", key), lambda: encode_laid_out(self._model, place_PC, layout)
        )
