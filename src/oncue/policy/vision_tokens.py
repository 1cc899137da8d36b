"""What a vision tower gives per frame."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def vision_tokens(output: Any) -> list[tuple[Tensor, ...]]:
    """Per depth the vision tokens (V, E) of each frame, from what `get_image_features` returns: those that stand for
    the frame, then those DeepStack adds to further layers. Older versions of transformers leave the latter in one
    piece, and it is cut here.
    """
    frames = tuple(output.pooler_output)
    counts = [len(tokens) for tokens in frames]
    deeper = getattr(output, "deepstack_features", None) or ()
    return [frames, *(tuple(d.split(counts)) if isinstance(d, Tensor) else tuple(d) for d in deeper)]
