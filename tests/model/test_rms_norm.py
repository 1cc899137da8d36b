"""Law of the RMS norms: values and gradients of the stock layer, in every family of models."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from oncue.model.known_families import family_of
from oncue.model.loading import LoadedModel
from oncue.model.rms_norm import _OneOperation, normalise_at_once


def made_by(layer: torch.nn.Module, given: torch.Tensor) -> list[torch.Tensor]:
    """Output, and the gradients of input and weight."""
    given, layer = given.clone().requires_grad_(), copy.deepcopy(layer)
    out = layer(given)
    (out.float() * torch.arange(out.numel()).view_as(out).sin()).sum().backward()
    assert given.grad is not None
    assert layer.weight.grad is not None
    return [out.detach(), given.grad, layer.weight.grad]


def pair(width: int, dtype: torch.dtype = torch.float32) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A stock layer with random weights, and ours with the same."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm

    stock = Qwen2_5_VLRMSNorm(width)
    stock.weight.data = torch.randn(width, generator=torch.Generator().manual_seed(1))
    stock = stock.to(dtype)
    ours = copy.deepcopy(stock)
    normalise_at_once(ours)
    assert isinstance(ours, _OneOperation)
    assert ours.state_dict().keys() == stock.state_dict().keys()
    return stock, ours


def test_all_norms_of_a_model_are_exchanged(
    family_loaded: LoadedModel, family_folder: Path
) -> None:
    kind = family_of(family_loaded.model.config.model_type).model_class()
    untouched = kind.from_pretrained(family_folder, dtype="float32")
    stock = {name for name, layer in untouched.named_modules() if "RMSNorm" in type(layer).__name__}
    ours = {
        name
        for name, layer in family_loaded.model.named_modules()
        if isinstance(layer, _OneOperation)
    }
    assert ours == stock
    assert len(ours) > family_loaded.model.config.get_text_config().num_hidden_layers


@pytest.mark.parametrize("shape", [(1, 1, 64), (3, 50, 64), (2, 4, 30, 64)])
def test_values_and_gradients_are_the_same_in_float32(shape: tuple[int, ...]) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    stock, ours = pair(64)
    assert all(
        torch.equal(a, b) for a, b in zip(made_by(stock, given), made_by(ours, given), strict=True)
    )
    ours.variance_epsilon = 1e-2  # control: a number that is not the layer's own
    assert not torch.equal(stock(given), ours(given))


@torch.no_grad()
def test_half_formats_are_no_less_exact() -> None:
    given = torch.randn(1, 400, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    stock, ours = pair(64, torch.bfloat16)
    exact, _ = pair(64)
    exact.weight.data = stock.weight.data.float()
    expected = exact(given.float())
    off = [float((layer(given).float() - expected).abs().mean()) for layer in (ours, stock)]
    assert ours(given).dtype == torch.bfloat16
    assert off[0] <= off[1] < 1e-2


def test_mixed_types_are_left_to_the_stock_layer() -> None:
    given = torch.randn(1, 5, 64).bfloat16()
    stock, ours = pair(64)
    assert torch.equal(ours(given), stock(given))
    assert ours(given).dtype == stock(given).dtype == torch.float32
