"""Windows computed together give what windows computed one by one give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oncue.policy.vision_attention import NAME, attend_by_length


def features(loaded, frames):
    patched = [loaded.renderer.frame_processor(frame) for frame in frames]
    patches = torch.cat([torch.from_numpy(frame.patches) for frame in patched])
    grids = torch.tensor([frame.grid for frame in patched])
    with torch.no_grad():
        return torch.cat(list(loaded.model.model.get_image_features(patches, grids).pooler_output))


@pytest.mark.parametrize("sizes", [[(112, 112)] * 3, [(112, 112), (84, 140), (112, 112), (56, 84)]])
def test_features_equal_those_of_the_stock_loop(tiny_loaded, sizes):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    vision = tiny_loaded.model.model.visual.config
    assert vision._attn_implementation == NAME
    together = features(tiny_loaded, frames)
    vision._attn_implementation = "sdpa"
    try:
        one_by_one = features(tiny_loaded, frames)
    finally:
        vision._attn_implementation = NAME
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-5)


def test_windows_do_not_see_each_other():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 10, 8)
    borders = torch.tensor([0, 4, 6, 10])
    before, _ = attend_by_length(None, query, key, value, cu_seq_lens_q=borders)
    changed = value.clone()
    changed[:, :, 4:6] += 1
    after, _ = attend_by_length(None, query, key, changed, cu_seq_lens_q=borders)
    same = (before == after).all(-1).all(-1)[0]
    assert same.tolist() == [True] * 4 + [False] * 2 + [True] * 4


def test_missing_borders_are_an_error():
    with pytest.raises(ValueError, match="cu_seq_lens_q"):
        attend_by_length(None, *torch.randn(3, 1, 2, 4, 8))
