"""Layers of a stock Qwen-VL model that compute the same values faster."""

from __future__ import annotations

from typing import Any

from oncue.model.linear import multiply_in_onednn
from oncue.model.patch_projection import project_patches_by_matrix
from oncue.model.rms_norm import normalise_at_once
from oncue.model.vision_attention import batch_vision_windows


def use_fast_layers(model: Any) -> None:
    """Exchanges those layers in place. Parameters, their names and, up to rounding, all values stay
    as they were."""
    batch_vision_windows(model)
    project_patches_by_matrix(model)
    multiply_in_onednn(model)
    normalise_at_once(model)
