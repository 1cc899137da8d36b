"""Losses over a batch. Axis letters: T tokens, C trained choices, N rows, E width, V vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oncue.engine.kv_cache import use_rows
from oncue.model.vision import encode_frames
from oncue.train.packing import TrainingBatch


def trained_logits(
    model: Any, batch: TrainingBatch, image_pad_id: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(logits_CV, targets_C, weights_C) of the choices that carry loss; no other logits are
    computed. As of `trained_states`."""
    states_CE = trained_states(model, batch, image_pad_id)
    return model.lm_head(states_CE), batch.targets_C, batch.weights_C


def states_and_logits(model: Any, batch: TrainingBatch, image_pad_id: int) -> tuple[Tensor, Tensor]:
    """(states_CE, logits_CV): `trained_states`, and what the model makes of them."""
    states_CE = trained_states(model, batch, image_pad_id)
    return states_CE, model.lm_head(states_CE)


def trained_states(model: Any, batch: TrainingBatch, image_pad_id: int) -> Tensor:
    """(C, E): the last layer of the decoder where each choice that carries loss is made.

    Features go in as embeddings and positions are given, so the model's own placement of images is
    never used. The tokens of a sample see those before them in it, and nothing of other samples.
    """
    decoder = model.model.language_model
    use_rows(decoder)
    given = _embedded(model, batch, image_pad_id)
    hidden_1TE = decoder(
        **given,
        position_ids=batch.positions_3T[:, None],
        # So that none is made: unused
        attention_mask=given["inputs_embeds"].new_ones(1, 1, 1, 1, dtype=torch.bool),
        use_cache=False,
        branches=batch.branches,
    ).last_hidden_state
    return _rows(hidden_1TE[0], batch.places_C)


def _embedded(model: Any, batch: TrainingBatch, image_pad_id: int) -> dict[str, Any]:
    """What the language model takes in place of ids; with DeepStack also the vision tokens of
    further depths."""
    ids_1T = batch.token_ids_T[None]
    embeds_1TE = model.get_input_embeddings()(ids_1T)
    if not len(batch.grids_F3):
        return {"inputs_embeds": embeds_1TE}
    grids = [tuple(grid) for grid in batch.grids_F3.tolist()]
    encoded = encode_frames(model, batch.patches_NP.to(model.dtype), grids)
    is_vision_1T = ids_1T == image_pad_id
    features, *deepstack = [_rows(torch.cat(of_frames), batch.shown_S) for of_frames in encoded]
    embeds_1TE = embeds_1TE.masked_scatter(is_vision_1T[..., None], features.to(embeds_1TE.dtype))
    given: dict[str, Any] = {"inputs_embeds": embeds_1TE}
    if deepstack:
        given |= {"visual_pos_masks": is_vision_1T, "deepstack_visual_embeds": deepstack}
    return given


def _rows(values_NE: Tensor, numbers: Tensor) -> Tensor:
    """`values_NE[numbers]`. Gradients of a row that is taken several times are added in one order,
    and not, as those of an index, in that of the threads."""
    return torch.nn.functional.embedding(numbers, values_NE)


def weighted_loss_sum(logits_CV: Tensor, targets_C: Tensor, weights_C: Tensor) -> Tensor:
    """Sum over choices of weight times negative log-likelihood (nats). Divided by the batch's
    weight it is the loss."""
    losses_C = torch.nn.functional.cross_entropy(logits_CV.float(), targets_C, reduction="none")
    return (losses_C * weights_C).sum()
