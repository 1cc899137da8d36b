"""Laws of the linear layers: the values, gradients and parameters of the stock layer, whatever the shape."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from oncue.policy import linear
from oncue.policy.linear import MIN_PRODUCTS, OneDnnLinear, multiply_in_onednn
from oncue.policy.model import LoadedModel

pytestmark = pytest.mark.skipif(not linear.HAS_ONEDNN, reason="oneDNN is used on x86 processors only")


def layers(bias: bool = True) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """The stock layer and ours with the same random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stock = torch.nn.Linear(96, 160, bias=bias)
    ours = copy.deepcopy(stock)
    multiply_in_onednn(ours)
    return stock, ours


def inputs(*shape: int) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    assert made.numel() * 160 >= MIN_PRODUCTS  # so that it is not the stock product that is looked at
    return made


def same(one: list[Tensor | None], other: list[Tensor | None]) -> bool:
    pairs = list(zip(one, other, strict=True))
    assert all(a is not None and b is not None and a.shape == b.shape for a, b in pairs)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)


def backward(layer: torch.nn.Linear, given: Tensor) -> list[Tensor | None]:
    """Output, and the gradients of input and parameters."""
    given = given.detach().requires_grad_(given.requires_grad)
    out = layer(given)
    (out * torch.arange(out.numel()).view_as(out).sin()).sum().backward()
    return [out.detach(), given.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("shape", [(80, 96), (1, 80, 96), (4, 5, 30, 96)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_stock_layer(shape: tuple[int, ...], bias: bool) -> None:
    stock, ours = layers(bias)
    assert isinstance(ours, OneDnnLinear)
    given = inputs(*shape).requires_grad_()
    expected, found = backward(stock, given), backward(ours, given)
    assert len(found) == (4 if bias else 3)
    assert same(expected, found)
    assert not same(expected, backward(ours, given.flip(-1)))  # control
    with torch.no_grad():
        assert torch.allclose(ours(given), stock(given), atol=1e-5)


def test_inputs_need_not_be_contiguous() -> None:
    stock, ours = layers()
    given = inputs(96, 80).t().requires_grad_()
    assert same(backward(stock, given), backward(ours, given))


def test_what_is_frozen_gets_no_gradient() -> None:
    _, ours = layers()
    ours.weight.requires_grad_(False)
    _, of_input, of_weight, of_bias = backward(ours, inputs(80, 96).requires_grad_())
    assert of_weight is None
    assert of_input is not None
    assert of_bias is not None
    _, of_input, *_ = backward(ours, inputs(80, 96))
    assert of_input is None


def test_small_products_other_formats_and_empty_inputs_go_the_stock_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stock, ours = layers()

    def refuse(*_: object) -> Tensor:
        raise AssertionError("oneDNN was asked")

    monkeypatch.setattr(linear, "_product", refuse)
    with pytest.raises(AssertionError, match="oneDNN was asked"):  # control
        ours(inputs(80, 96))
    assert torch.equal(ours(torch.ones(3, 96)), stock(torch.ones(3, 96)))
    assert ours(torch.ones(0, 96)).shape == (0, 160)
    in_bfloat16 = ours.to(torch.bfloat16)(inputs(80, 96).to(torch.bfloat16))
    assert torch.equal(in_bfloat16, stock.to(torch.bfloat16)(inputs(80, 96).to(torch.bfloat16)))


def test_every_linear_layer_of_a_loaded_model_is_exchanged(tiny_loaded: LoadedModel) -> None:
    found = {type(layer) for layer in tiny_loaded.model.modules() if isinstance(layer, torch.nn.Linear)}
    assert found == {OneDnnLinear}
