"""RMS normalisation as one operation of torch, where the stock layer has eight in half formats, and
six in float32.

A forward of Qwen2.5-VL-3B with a frame in it normalises 138 times, and on a GPU each of these
operations is a launch. On a CPU values and gradients in float32 are the same bit for bit; in half
formats the product with the weight is rounded once and not twice. Where types are mixed, as in a
vision tower trained with autocast, the stock layer computes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from oncue.model.known_families import FAMILIES

_STOCK = frozenset(name for family in FAMILIES.values() for name in family.rms_norms)
_ours: dict[type, Any] = {}  # by stock class


class _OneOperation:
    """Comes before the stock class of a layer, whose `weight` and `variance_epsilon` it uses."""

    weight: Tensor
    variance_epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., E) to the same."""
        if hidden_states.dtype != self.weight.dtype:  # the stock layer has rules for mixed types
            stock: Tensor = super().forward(hidden_states)  # type: ignore[misc]
            return stock
        return rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)


def normalise_at_once(model: torch.nn.Module) -> None:
    """Makes every RMS norm of a Qwen-VL model compute in one operation. Parameters stay where they
    are."""
    for layer in model.modules():
        stock = type(layer)
        if stock.__name__ in _STOCK:
            if stock not in _ours:
                _ours[stock] = type(f"OneOperation{stock.__name__}", (_OneOperation, stock), {})
            layer.__class__ = _ours[stock]
