"""Windows computed together give what windows computed one by one give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import oncue.model.vision_attention as vision_attention
from oncue.model.vision import per_frame
from oncue.model.vision_attention import NAME, attend_by_length


def features(loaded, frames):
    """The vision tokens, and with DeepStack those of every depth."""
    patched = [loaded.renderer.frame_processor(frame) for frame in frames]
    patches = torch.cat([torch.from_numpy(frame.patches) for frame in patched])
    grids = torch.tensor([frame.grid for frame in patched])
    with torch.no_grad():
        output = loaded.model.model.get_image_features(patches, grids)
    return torch.stack([torch.cat(tokens) for tokens in per_frame(output)])


def noise(sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize("sizes", [[(112, 112)] * 3, [(112, 112), (84, 140), (112, 112), (56, 84)]])
def test_features_equal_those_of_the_stock_loop(family_loaded, sizes):
    frames = noise(sizes)
    vision = family_loaded.model.model.visual.config
    assert vision._attn_implementation == NAME
    together = features(family_loaded, frames)
    vision._attn_implementation = "sdpa"
    try:
        one_by_one = features(family_loaded, frames)
    finally:
        vision._attn_implementation = NAME
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-5)
    other = features(family_loaded, frames[::-1])
    assert not torch.allclose(together, other, atol=1e-2)  # control


def test_frames_of_one_size_share_a_call(family_loaded, monkeypatch):
    lengths, attend = [], vision_attention._attend

    def counted(query, key, value, length, scaling):
        lengths.append((len(query), length))
        return attend(query, key, value, length, scaling)

    monkeypatch.setattr(vision_attention, "_attend", counted)
    features(family_loaded, noise([(112, 112)] * 5))
    num_layers = family_loaded.model.config.vision_config.depth
    assert lengths == [(5 * 64, 64)] * num_layers
    lengths.clear()
    features(family_loaded, noise([(112, 112)] * 2 + [(56, 84)]))  # control: two sizes
    assert len(lengths) == 2 * num_layers


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
