"""Laws of the layout of frames: the tower says what it says by itself, and is laid out once for a
stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import vision_utils

import oncue.model.qwen_vl as qwen_vl_module
from oncue.model.loading import LoadedModel
from oncue.model.vision import encode_frames, frame_layout, per_frame


def patched(
    loaded: LoadedModel, sizes: list[tuple[int, int]]
) -> tuple[torch.Tensor, list[tuple[int, int, int]]]:
    rng = np.random.default_rng(0)
    frames = [
        loaded.renderer.frame_processor(rng.integers(0, 256, (*size, 3), np.uint8))
        for size in sizes
    ]
    return torch.cat([torch.from_numpy(frame.patches) for frame in frames]), [
        frame.grid for frame in frames
    ]


@pytest.mark.parametrize(
    "sizes", [[(112, 112)], [(84, 140)] * 3, [(112, 112), (84, 140), (56, 84), (112, 112)]]
)
def test_tokens_equal_those_the_tower_gives_by_itself(
    family_loaded: LoadedModel, sizes: list[tuple[int, int]]
) -> None:
    patches, grids = patched(family_loaded, sizes)
    model = family_loaded.model
    laid_out = bool(frame_layout(model, grids, family_loaded.device).options)
    assert laid_out == (
        model.config.model_type != "qwen3_vl"
    )  # which goes the stock way: nothing to compare
    with torch.no_grad():
        stock = per_frame(model.model.get_image_features(patches, torch.tensor(grids)))
        ours = encode_frames(model, patches, grids)
        moved = encode_frames(model, patches.flip(0), grids)
    for of_stock, of_ours, of_moved in zip(stock, ours, moved, strict=True):
        assert len(of_ours) == len(grids)
        for expected, tokens, other in zip(of_stock, of_ours, of_moved, strict=True):
            torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-6)
            assert not torch.allclose(other, expected, atol=1e-3)  # control


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The grids of every layout that was worked out."""
    made: list[Any] = []
    qwen_vl_module._laid_out.cache_clear()
    places = vision_utils.get_vision_position_ids

    def counted(grids_F3: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if options.get("kwargs") is None:
            made.append(grids_F3.tolist())
        return places(grids_F3, *args, **options)

    monkeypatch.setattr(vision_utils, "get_vision_position_ids", counted)
    return made


def test_frames_of_a_stream_are_laid_out_once(tiny_loaded: LoadedModel, layouts: list[Any]) -> None:
    model = tiny_loaded.model
    first, other = [(1, 6, 10)], [(1, 10, 6)]
    with torch.inference_mode():
        layout = frame_layout(model, first, tiny_loaded.device)
    assert all(
        not value.is_inference() for value in layout.options.values()
    )  # training may meet it, too
    assert frame_layout(model, first, tiny_loaded.device) is layout
    assert frame_layout(model, other, tiny_loaded.device) is not layout
    assert layouts == [[list(grid)] for (grid,) in (first, other)]
