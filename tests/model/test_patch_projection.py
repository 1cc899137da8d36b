"""Law of the patch projection: the values, gradients and parameters of the stock convolution."""

from __future__ import annotations

import copy

import pytest
import torch

from oncue.model.loading import LoadedModel
from oncue.model.patch_projection import PatchProjection


def test_it_equals_the_stock_convolution(tiny_loaded: LoadedModel) -> None:
    ours = tiny_loaded.model.model.visual.patch_embed.proj
    assert isinstance(ours, PatchProjection)
    ours, stock = copy.deepcopy(ours), copy.deepcopy(ours)
    stock.__class__ = torch.nn.Conv3d
    patches = torch.randn(20, 3, *ours.kernel_size, generator=torch.Generator().manual_seed(0))
    out, expected = ours(patches), stock(patches).flatten(1)
    assert torch.allclose(out, expected, atol=1e-5)
    for made in (out, expected):
        made.square().sum().backward()
    assert torch.allclose(ours.weight.grad, stock.weight.grad, rtol=1e-4, atol=1e-4)
    assert ours.state_dict().keys() == stock.state_dict().keys()
    assert not torch.allclose(
        ours(patches.flip(-1)), expected, atol=1e-2
    )  # control: the layout of a patch matters
    with pytest.raises(ValueError, match="patches must be"):
        ours(torch.zeros(1, 3, 2, 28, 28))
