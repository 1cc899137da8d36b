"""Losses over a batch. Axis letters as in `samples`; T: trained tokens of the batch, V: vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oncue.policy.vision import encode_frames
from oncue.train.samples import TrainingBatch


def trained_logits(model: Any, batch: TrainingBatch, image_pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """(logits_TV, targets_T, weights_T) of the choices that carry loss; no other logits are computed.

    Features go in as embeddings and positions are given, so the model's own placement of images is never used.
    """
    hidden = model.model.language_model(
        **_embedded(model, batch, image_pad_id),
        position_ids=batch.positions_3BL,
        attention_mask=None,
        use_cache=False,
    ).last_hidden_state
    targets_BL, weights_BL = batch.targets_BL[:, 1:], batch.weights_BL[:, 1:]
    chosen = weights_BL > 0
    return model.lm_head(hidden[:, :-1][chosen]), targets_BL[chosen], weights_BL[chosen]


def _embedded(model: Any, batch: TrainingBatch, image_pad_id: int) -> dict[str, Any]:
    """What the language model takes in place of ids; with DeepStack also the vision tokens of further depths."""
    embeds = model.get_input_embeddings()(batch.token_ids_BL)
    if not len(batch.grids_F3):
        return {"inputs_embeds": embeds}
    grids = [tuple(grid) for grid in batch.grids_F3.tolist()]
    encoded = encode_frames(model, batch.patches_NC.to(model.dtype), grids)
    is_vision_BL = batch.token_ids_BL == image_pad_id
    shown = batch.shown_S.tolist()
    features, *deepstack = [torch.cat([of_frames[i] for i in shown]) for of_frames in encoded]
    embeds = embeds.masked_scatter(is_vision_BL[..., None], features.to(embeds.dtype))
    given: dict[str, Any] = {"inputs_embeds": embeds}
    if deepstack:
        given |= {"visual_pos_masks": is_vision_BL, "deepstack_visual_embeds": deepstack}
    return given


def weighted_loss_sum(logits_TV: Tensor, targets_T: Tensor, weights_T: Tensor) -> Tensor:
    """Sum over tokens of weight times negative log-likelihood (nats). Divided by the batch's weight it is the loss."""
    losses_T = torch.nn.functional.cross_entropy(logits_TV.float(), targets_T, reduction="none")
    return (losses_T * weights_T).sum()
