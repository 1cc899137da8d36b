"""The clipped loss of a critic. Axis letters: C trained choices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ValueLoss:
    """Sums over choices, to be divided by the number of choices of the whole step. `loss` has a
    gradient."""

    loss: Tensor
    num_clipped: int


def value_loss(
    values_C: Tensor, old_values_C: Tensor, returns_C: Tensor, value_clip: float
) -> ValueLoss:
    """Half the squared error of each value; where the value has moved by more than `value_clip`
    from the old one, that of the clipped value, if it is larger.

    Source: PPO (arXiv 1707.06347) as its public implementations have it.
    """
    clipped_C = old_values_C + (values_C - old_values_C).clamp(-value_clip, value_clip)
    errors_C, clipped_errors_C = (values_C - returns_C) ** 2, (clipped_C - returns_C) ** 2
    loss = 0.5 * torch.maximum(errors_C, clipped_errors_C).sum()
    return ValueLoss(loss, int((clipped_errors_C > errors_C).sum()))
