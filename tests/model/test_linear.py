"""Laws of the linear layers: the values, gradients and parameters of the stock layer, whatever the
shape."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from oncue.model import linear
from oncue.model.linear import MIN_PRODUCTS, OneDnnLinear, multiply_in_onednn
from oncue.model.loading import LoadedModel

pytestmark = pytest.mark.skipif(
    not linear.HAS_ONEDNN, reason="this torch has no oneDNN for x86 processors"
)


@pytest.fixture(autouse=True)
def _in_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this processor gains from it or not."""
    monkeypatch.setattr(linear, "USES_ONEDNN", True)


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
    assert (
        made.numel() * 160 >= MIN_PRODUCTS
    )  # so that it is not the stock product that is looked at
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
def test_values_and_gradients_are_those_of_the_stock_layer(
    shape: tuple[int, ...], bias: bool
) -> None:
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


def test_small_products_other_formats_and_empty_inputs_go_the_stock_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_a_processor_that_gains_nothing_goes_the_stock_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stock, ours = layers()
    monkeypatch.setattr(linear, "USES_ONEDNN", False)
    monkeypatch.setattr(linear, "_product", lambda *_: pytest.fail("oneDNN was asked"))
    assert torch.equal(ours(inputs(80, 96)), stock(inputs(80, 96)))


def test_autocast_has_its_way() -> None:
    stock, ours = layers()
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(inputs(80, 96)).dtype == stock(inputs(80, 96)).dtype == torch.bfloat16


def test_a_vector_and_a_wrong_width_are_the_stock_layers_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)
    stock, ours = layers()
    given = torch.randn(96, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert same(backward(stock, given), backward(ours, given))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ours(torch.ones(80, 95))


GROWN_MIB = """
import sys, torch
from oncue.model import linear
from oncue.model.linear import fast_linear
linear.USES_ONEDNN = True
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
weight = torch.randn(128, 128)
def products(rows):
    with torch.no_grad():
        for count in rows:
            fast_linear(torch.ones(count, 128), weight, None)
products(range(600, 620))
before = resident()
products(range(620, 1020))
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_shapes() -> None:
    """400 shapes; the control keeps them all."""
    capacities = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    plain = {name: value for name, value in os.environ.items() if name not in capacities}
    grown = [
        float(
            subprocess.run(
                [sys.executable, "-c", GROWN_MIB], env=env, capture_output=True, check=True
            ).stdout
        )
        for env in (plain, plain | dict.fromkeys(capacities, "1024"))
    ]
    assert grown[0] < grown[1] / 2


def test_every_linear_layer_of_a_loaded_model_is_exchanged(tiny_loaded: LoadedModel) -> None:
    found = {
        type(layer) for layer in tiny_loaded.model.modules() if isinstance(layer, torch.nn.Linear)
    }
    assert found == {OneDnnLinear}
