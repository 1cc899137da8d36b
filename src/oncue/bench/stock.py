"""The same work done by transformers' own code, from scratch: the whole dialogue with all its
frames.

This is what the released evaluation scripts of such models do in every turn, and what a carried
session must equal.

Axis letters: L tokens, E width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from oncue.model.loading import LoadedModel


def stock_inputs(
    loaded: LoadedModel, context_ids: Sequence[int], frames: Sequence[np.ndarray]
) -> dict[str, Any]:
    """What the model class takes for a whole dialogue. Every frame (H, W, 3) is resized and patched
    again."""
    renderer = loaded.renderer
    ids_1L = torch.tensor([list(context_ids)], device=loaded.device)
    inputs: dict[str, Any] = {
        "input_ids": ids_1L,
        "attention_mask": torch.ones_like(ids_1L),
        "mm_token_type_ids": (ids_1L == renderer.image_pad_id).int(),
    }
    if frames:
        patched = [renderer.frame_processor(frame) for frame in frames]
        patches = torch.from_numpy(np.concatenate([frame.patches for frame in patched]))
        inputs["pixel_values"] = patches.to(loaded.device)
        inputs["image_grid_thw"] = torch.tensor(
            [frame.grid for frame in patched], device=loaded.device
        )
    return inputs


@torch.inference_mode()
def stock_hidden(
    loaded: LoadedModel, context_ids: Sequence[int], frames: Sequence[np.ndarray]
) -> torch.Tensor:
    """(L, E): what the output layer is given at each token, in one forward that lays out the
    positions by itself."""
    loaded.model.model.rope_deltas = None  # shared state of the model object
    output = loaded.model.model(**stock_inputs(loaded, context_ids, frames), use_cache=False)
    return output.last_hidden_state[0]


@torch.inference_mode()
def stock_answer(
    loaded: LoadedModel,
    prompt_ids: Sequence[int],
    frames: Sequence[np.ndarray],
    max_new_tokens: int,
) -> tuple[int, ...]:
    """The greedy answer to a whole prompt, token by token after one forward over all of it."""
    loaded.model.model.rope_deltas = None
    ids_1L = loaded.model.generate(
        **stock_inputs(loaded, prompt_ids, frames),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=loaded.renderer.im_end_id,
        pad_token_id=loaded.renderer.endoftext_id,
    )
    return tuple(ids_1L[0, len(prompt_ids) :].tolist())
