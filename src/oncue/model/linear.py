"""Linear layers that compute in oneDNN on an x86 processor with AVX-512, as torch itself does in
every other format.

torch sends float32 matrices to MKL, which does without AVX-512 on processors that are not Intel's:
less than half the speed of oneDNN, which looks at what the processor can do. With AVX2 alone MKL is
as fast, and has nothing to compile. On other processors and GPUs, in other formats and for small
products nothing changes.

oneDNN compiles each shape when it comes first, and keeps what it compiled, about a megabyte per
shape: by default so many that a training, whose shapes hardly ever come again, would grow by
gigabytes.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

# oneDNN's own, and torch's before it
for _capacity in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_capacity, "64")  # read at the first product

HAS_ONEDNN = (  # torch can be asked for it
    torch.backends.mkldnn.is_available()
    and platform.machine() in ("x86_64", "AMD64")
    # Torch's own compiler calls it; no promise that it stays
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
USES_ONEDNN = HAS_ONEDNN and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
MIN_PRODUCTS = 1 << 20  # multiplications: below, the call itself costs more than is saved


class OneDnnLinear(torch.nn.Linear):
    """A linear layer, same values and gradients; parameters stay where they are."""

    def forward(self, input: Tensor) -> Tensor:
        return fast_linear(input, self.weight, self.bias)


def fast_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear`: (..., I), (O, I), (O,) to (..., O)."""
    if (
        not USES_ONEDNN
        or input.device.type != "cpu"
        or input.dtype != torch.float32
        or weight.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or input.dim() < 2
        or input.shape[-1] != weight.shape[1]  # the stock layer says what is wrong
        or input.numel() * weight.shape[0] < MIN_PRODUCTS
    ):
        return linear(input, weight, bias)
    if torch.is_grad_enabled():
        output: Tensor = _Linear.apply(input, weight, bias)
        return output
    return _product(input, weight, bias)


class _Linear(torch.autograd.Function):
    """oneDNN's product has no gradient in torch: it is two more products."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            _product(grad, weight.t()) if of_input else None,
            _product(rows.t(), input.flatten(0, -2).t()) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return output


def is_plain(weight: Tensor) -> bool:
    """Whether a parameter holds its values as they are: quantized ones may come as tensors of a
    type of their own."""
    return type(weight) is torch.nn.Parameter


def multiply_in_onednn(model: torch.nn.Module) -> None:
    """Makes every plain linear layer of a model a `OneDnnLinear`; not those of quantized
    weights."""
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and is_plain(layer.weight):
            layer.__class__ = OneDnnLinear
