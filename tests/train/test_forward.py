"""The loss is that of the stock model, however a batch is split."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from oncue.errors import DataError
from oncue.train.forward import trained_logits, weighted_loss_sum
from oncue.train.packing import collate
from oncue.train.samples import to_sample
from oncue.train.sft.batches import StepBatch
from oncue.train.sft.loop import accumulate_gradient
from oncue.train.trainable import freeze
from oncue.types import Dialogue, DialogueTurn
from train_support import drawn, samples, small_config


@torch.no_grad()
def test_logits_are_those_of_the_stock_model(family_loaded):
    dialogue, frames = drawn(1)
    renderer = family_loaded.renderer
    sample = to_sample(dialogue, frames, renderer)
    batch = collate([sample], renderer.image_pad_id)
    ours, targets, _ = trained_logits(family_loaded.model, batch, renderer.image_pad_id)
    ids = batch.token_ids_T[None]

    def stock(patches: torch.Tensor) -> torch.Tensor:
        family_loaded.model.model.rope_deltas = None
        output = family_loaded.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == renderer.image_pad_id).int(),
            pixel_values=patches,
            image_grid_thw=batch.grids_F3,
            use_cache=False,
        )
        return output.logits[0, np.flatnonzero(sample.weights_L) - 1]

    assert torch.allclose(ours, stock(batch.patches_NP), atol=1e-4)
    assert not torch.allclose(
        ours, stock(batch.patches_NP.flip(0)), atol=1e-2
    )  # other pictures, other logits
    assert targets.tolist() == [
        i for i, w in zip(sample.segment.token_ids, sample.weights_L, strict=True) if w
    ]


@torch.no_grad()
def test_silence_that_no_token_stands_for_is_trained(tiny_token_loaded):
    """A question after silence: the logits behind the silent turn are asked for the choice, not for
    the question."""
    renderer = tiny_token_loaded.renderer
    dialogue, frames = drawn(1)
    turns = (
        *dialogue.turns[:1],
        DialogueTurn("user", "", 2),
        DialogueTurn("assistant", "NO REPLY"),
    )
    turns = (*turns, DialogueTurn("user", "And now?", 2), DialogueTurn("assistant", "It leaves."))
    batch = collate([to_sample(Dialogue("d", turns), frames[:4], renderer)], renderer.image_pad_id)
    logits, targets, weights = trained_logits(tiny_token_loaded.model, batch, renderer.image_pad_id)
    end = renderer.im_end_id
    assert targets.tolist() == [renderer.vision_start_id, end, *renderer.encode("It leaves."), end]
    assert weights.tolist() == [1.0] * len(targets)
    silent = to_sample(Dialogue("d", turns[:3]), frames[:2], renderer)
    alone, same, _ = trained_logits(
        tiny_token_loaded.model, collate([silent], renderer.image_pad_id), renderer.image_pad_id
    )
    assert same.tolist() == targets[:1].tolist()
    assert torch.allclose(alone[0], logits[0], atol=1e-4)
    assert not torch.allclose(alone[0], logits[1], atol=1e-2)
    assert batch.token_ids_T[batch.places_C[0] + 1] == renderer.encode("And now?")[0]


def test_the_loss_weighs_tokens():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    targets, weights = torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.5, 0.0])
    nll = [-torch.log_softmax(row, 0)[t] for row, t in zip(logits, targets, strict=True)]
    assert torch.isclose(weighted_loss_sum(logits, targets, weights), nll[0] + 0.5 * nll[1])


def gradients(loaded, config, parts) -> tuple[float, dict[str, torch.Tensor]]:
    loaded.model.zero_grad(set_to_none=True)
    pad = loaded.renderer.image_pad_id
    batch = StepBatch(tuple(collate(part, pad) for part in parts), 0)
    loss = accumulate_gradient(loaded.model, batch, pad, config, loaded.device)
    found = {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}
    loaded.model.zero_grad(set_to_none=True)
    return loss, found


@pytest.fixture
def own(family_loaded):
    """A copy of the tiny model of each family whose gradients may be touched."""
    return replace(family_loaded, model=copy.deepcopy(family_loaded.model))


def test_micro_batches_give_the_gradient_of_the_whole_batch(own):
    config = small_config("x", silence_weight=0.3)
    four = samples(own, 4, silence_weight=0.3)
    loss, whole = gradients(own, config, [four])
    split_loss, split = gradients(own, config, [four[:1], four[1:3], four[3:]])
    _, fewer = gradients(own, config, [four[:3]])
    assert split_loss == pytest.approx(loss, rel=1e-5)
    assert whole.keys() == split.keys()
    largest = max(float(g.abs().max()) for g in whole.values())
    assert all(torch.allclose(whole[n], split[n], atol=1e-5 * largest, rtol=1e-4) for n in whole)
    assert not all(
        torch.allclose(whole[n], fewer[n], atol=1e-5 * largest, rtol=1e-4) for n in whole
    )


def test_every_part_can_be_frozen_by_itself(own):
    two = samples(own, 2)

    def trained(**flags: bool) -> set[str]:
        config = small_config("x", **flags)
        freeze(own.model, freeze_vision=config.freeze_vision, freeze_merger=config.freeze_merger)
        names = {
            name for name, grad in gradients(own, config, [two])[1].items() if grad.abs().max() > 0
        }
        return {
            "merger" if "merger" in n else "vision" if ".visual." in n else "text" for n in names
        }

    assert trained(freeze_vision=False, freeze_merger=False) == {"text", "merger", "vision"}
    assert trained(freeze_vision=True, freeze_merger=False) == {"text", "merger"}
    assert trained(freeze_vision=True, freeze_merger=True) == {"text"}
    assert trained(freeze_vision=False, freeze_merger=True) == {"text", "vision"}


def test_a_batch_without_a_trained_turn(own):
    dialogue, frames = drawn(1)
    untrained = to_sample(
        replace(dialogue, trained=(False,) * len(dialogue.turns)), frames, own.renderer
    )
    loss, found = gradients(own, small_config("x", silence_weight=0.0), [[untrained]])
    assert (loss, found) == (0.0, {})
    with pytest.raises(DataError, match="no trained turn"):
        gradients(own, small_config("x"), [[untrained]])
