"""The first layer of the vision tower as what it is: one matrix product per patch.

The stock tower runs it as a 3-D convolution whose stride is its kernel, for which the libraries
have no fast path (a sixth of a whole turn of a small model on a CPU). Weights and values are the
same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oncue.model.linear import fast_linear, is_plain


class PatchProjection(torch.nn.Conv3d):
    """A convolution over inputs of exactly one kernel's size: (N, channels, depth, height, width)
    to (N, E)."""

    def forward(self, input: Tensor) -> Tensor:
        """Raises ValueError for inputs of another size, which would have more than one place to
        convolve."""
        if tuple(input.shape[2:]) != tuple(self.kernel_size):
            raise ValueError(
                f"patches must be {tuple(self.kernel_size)}, got {tuple(input.shape[2:])}"
            )
        return fast_linear(input.flatten(1), self.weight.flatten(1), self.bias)


def project_patches_by_matrix(model: Any) -> None:
    """Makes the vision tower of a Qwen-VL model project patches by a matrix product. Parameters
    stay where they are."""
    projection = model.model.visual.patch_embed.proj
    if type(projection) is torch.nn.Conv3d and is_plain(projection.weight):
        projection.__class__ = PatchProjection
