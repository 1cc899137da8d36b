"""Laws of packed batches: packing changes nothing of a sample, and what samples share is computed
once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from oncue.model.loading import LoadedModel
from oncue.model.tree_attention import Branch
from oncue.render.base import PatchedFrame
from oncue.train import forward as losses
from oncue.train.forward import trained_logits
from oncue.train.packing import collate
from oncue.train.rl.policy_samples import PolicySample, micro_batches
from oncue.train.samples import TrainingSample, to_sample
from oncue.train.sft.batches import StepBatch
from oncue.train.sft.loop import accumulate_gradient
from oncue.types import Dialogue, DialogueTurn
from train_support import drawn, patched, samples, small_config


def group(loaded: LoadedModel, *changes: dict[int, str]) -> list[TrainingSample]:
    """Samples that show the same frames: one dialogue, each time with other words in some of its
    turns."""
    dialogue, frames = drawn(1, num_turns=(6, 6))
    shown = patched(loaded, frames)
    made = []
    for change in changes:
        turns = tuple(
            replace(turn, text=change.get(i, turn.text)) for i, turn in enumerate(dialogue.turns)
        )
        made.append(to_sample(replace(dialogue, turns=turns), shown, loaded.renderer))
    return made


def unshared(sample: TrainingSample) -> TrainingSample:
    return showing(sample, [replace(frame) for frame in sample.segment.frames])


def showing(sample: TrainingSample, frames: Sequence[PatchedFrame]) -> TrainingSample:
    return replace(sample, segment=replace(sample.segment, frames=tuple(frames)))


@torch.no_grad()
def logits(loaded: LoadedModel, packed: list[TrainingSample]) -> torch.Tensor:
    pad = loaded.renderer.image_pad_id
    return trained_logits(loaded.model, collate(packed, pad), pad)[0]


def test_a_sample_is_what_it_is_alone(family_loaded):
    three = samples(family_loaded, 3)
    assert len({len(s.segment.token_ids) for s in three}) == 3
    apart = torch.cat([logits(family_loaded, [sample]) for sample in three])
    assert torch.allclose(logits(family_loaded, three), apart, atol=1e-5)
    pad = family_loaded.renderer.image_pad_id
    for sample in three:  # a choice is made by the token before it
        assert collate([sample], pad).places_C.tolist() == (sample.trained_C - 1).tolist()
    batch = collate(three, pad)
    with torch.no_grad():
        one_row = trained_logits(
            family_loaded.model, replace(batch, branches=(Branch(batch.num_tokens),)), pad
        )[0]
    assert not torch.allclose(one_row, apart, atol=1e-2)  # control: each sees those before it


def test_what_a_group_begins_with_is_computed_once(family_loaded):
    """Logits and targets are those of each member alone, though most tokens stand in the batch only
    once."""
    pad = family_loaded.renderer.image_pad_id
    members = group(
        family_loaded, {}, {4: "It leaves."}, {4: "It leaves.", 8: "It moves."}, {10: "It appears."}
    )
    other = samples(family_loaded, 1)
    packed = [*members[:2], *other, *members[2:]]
    batch = collate(packed, pad)
    num_tokens = sum(len(sample.segment.token_ids) for sample in packed)
    assert batch.num_tokens == len(batch.token_ids_T) < 0.75 * num_tokens
    assert len(batch.grids_F3) == len(members[0].segment.frames) + len(other[0].segment.frames)
    apart = torch.cat([logits(family_loaded, [sample]) for sample in packed])
    assert torch.allclose(logits(family_loaded, packed), apart, atol=1e-5)
    assert batch.targets_C.tolist() == [
        int(t) for s in packed for t in s.segment.target_ids[s.weights_L > 0]
    ]
    assert batch.weights_C.tolist() == [
        float(w) for s in packed for w in s.weights_L[s.weights_L > 0]
    ]
    with torch.no_grad():
        wrong = trained_logits(
            family_loaded.model, replace(batch, shown_S=batch.shown_S.flip(0)), pad
        )[0]
    assert not torch.allclose(wrong, apart, atol=1e-4)  # other pictures


def test_a_group_in_the_token_format(tiny_token_loaded):
    """A silent turn leaves no token there: what follows it is where members differ."""
    members = group(tiny_token_loaded, {}, {4: "It leaves."}, {4: "It leaves.", 12: "It moves."})
    apart = torch.cat([logits(tiny_token_loaded, [sample]) for sample in members])
    assert torch.allclose(logits(tiny_token_loaded, members), apart, atol=1e-5)
    batch = collate(members, tiny_token_loaded.renderer.image_pad_id)
    assert batch.num_tokens < 0.75 * sum(len(sample.segment.token_ids) for sample in members)


def test_the_gradient_of_a_group_is_that_of_its_members(family_loaded):
    loaded = replace(family_loaded, model=copy.deepcopy(family_loaded.model))
    members = group(loaded, {}, {4: "It leaves."}, {4: "It leaves.", 8: "It moves."})
    members[1] = replace(
        members[1], weights_L=members[1].weights_L * 3
    )  # a shared choice weighs what each gives it

    def gradient(*parts: list[TrainingSample]) -> torch.Tensor:
        loaded.model.zero_grad(set_to_none=True)
        pad = loaded.renderer.image_pad_id
        batch = StepBatch(tuple(collate(part, pad) for part in parts), 0)
        accumulate_gradient(loaded.model, batch, pad, small_config("x"), loaded.device)
        return torch.cat(
            [p.grad.flatten() for p in loaded.model.parameters() if p.grad is not None]
        )

    packed, apart = gradient(members), gradient(*([unshared(sample)] for sample in members))
    assert torch.allclose(packed, apart, atol=1e-5 * float(apart.abs().max()), rtol=1e-4)
    fewer = gradient(members[:2])
    assert not torch.allclose(packed, fewer, atol=1e-5 * float(apart.abs().max()), rtol=1e-4)


def test_branches_end_where_members_first_differ(tiny_loaded):
    one, two, three = group(tiny_loaded, {}, {6: "It leaves."}, {10: "It appears."})
    batch = collate([one, two, three], tiny_loaded.renderer.image_pad_id)
    first, second = (
        next(
            i
            for i, (ours, theirs) in enumerate(
                zip(one.segment.token_ids, other.segment.token_ids, strict=False)
            )
            if ours != theirs
        )
        for other in (two, three)
    )
    assert 0 < first < second
    assert batch.branches == (
        Branch(first),
        Branch(second - first, (0,)),
        Branch(len(one.segment.token_ids) - second, (0, 1)),
        Branch(len(three.segment.token_ids) - second, (0, 1)),
        Branch(len(two.segment.token_ids) - first, (0,)),
    )


def test_members_that_are_the_same_or_end_earlier_need_no_branch_of_their_own(tiny_loaded):
    (one,) = group(tiny_loaded, {})
    end = len(one.segment.token_ids) - 2
    whole = one.segment
    cut = replace(
        whole,
        token_ids=whole.token_ids[:end],
        positions=whole.positions[:, :end],
        target_ids=whole.target_ids[:end],
        turn_of=whole.turn_of[:end],
        logprobs=whole.logprobs[:end],
    )
    shorter = TrainingSample(cut, one.weights_L[:end])
    packed = [one, shorter, replace(one)]
    batch = collate(packed, tiny_loaded.renderer.image_pad_id)
    assert batch.branches == (Branch(end), Branch(2, (0,)))
    apart = torch.cat([logits(tiny_loaded, [sample]) for sample in packed])
    assert torch.allclose(logits(tiny_loaded, packed), apart, atol=1e-5)


def test_equal_words_about_other_pictures_share_nothing(tiny_loaded):
    (one,) = group(tiny_loaded, {})
    other = showing(
        one, [replace(frame, patches=frame.patches[::-1].copy()) for frame in one.segment.frames]
    )
    batch = collate([one, other], tiny_loaded.renderer.image_pad_id)
    assert batch.branches == (Branch(len(one.segment.token_ids)),) * 2
    both, alone = logits(tiny_loaded, [one, other]), logits(tiny_loaded, [one])
    assert torch.allclose(both, torch.cat([alone, logits(tiny_loaded, [other])]), atol=1e-5)
    assert not torch.allclose(both[len(alone) :], alone, atol=1e-2)


def test_text_alone_makes_a_batch(tiny_loaded):
    renderer = tiny_loaded.renderer
    talk = Dialogue("t", (DialogueTurn("user", "How many?"), DialogueTurn("assistant", "Two.")))
    sample = to_sample(talk, [], renderer)
    assert len(logits(tiny_loaded, [sample])) == len(renderer.encode("Two.")) + 1
    with_frames = samples(tiny_loaded, 1)
    apart = torch.cat([logits(tiny_loaded, [s]) for s in (sample, *with_frames)])
    assert torch.allclose(logits(tiny_loaded, [sample, *with_frames]), apart, atol=1e-5)


def test_a_choice_at_the_first_place_is_refused(tiny_loaded):
    one, two = samples(tiny_loaded, 2)
    wrong = two.weights_L.copy()
    wrong[0] = 1.0
    with pytest.raises(ValueError, match="first place"):
        collate([one, replace(two, weights_L=wrong)], tiny_loaded.renderer.image_pad_id)


def test_members_that_were_shown_another_frame_share_what_came_before_it(tiny_loaded):
    """Members of a group need not see the same: one got another second frame, one stopped after the
    first turn."""
    (one,) = group(tiny_loaded, {})
    frames = list(one.segment.frames)
    changed = replace(frames[1], patches=frames[1].patches[::-1].copy())
    other = showing(one, [frames[0], changed, *frames[2:]])
    packed = [one, other]
    batch = collate(packed, tiny_loaded.renderer.image_pad_id)
    assert len(batch.branches) == 3
    assert len(batch.grids_F3) == len(frames) + 1
    apart = torch.cat([logits(tiny_loaded, [sample]) for sample in packed])
    assert torch.allclose(logits(tiny_loaded, packed), apart, atol=1e-5)
    half = len(apart) // 2
    assert not torch.allclose(apart[half:], apart[:half], atol=1e-3)  # control: the picture matters


def test_a_frame_shown_twice_is_encoded_once(tiny_loaded):
    (one,) = group(tiny_loaded, {})
    first = one.segment.frames[0]
    still = showing(one, [first] * len(one.segment.frames))
    batch = collate([still], tiny_loaded.renderer.image_pad_id)
    assert len(batch.grids_F3) == 1
    apart = logits(tiny_loaded, [unshared(still)])
    assert torch.allclose(logits(tiny_loaded, [still]), apart, atol=1e-5)


def test_frames_must_account_for_the_vision_tokens(tiny_loaded):
    (one,) = group(tiny_loaded, {})
    with pytest.raises(ValueError, match="vision tokens"):
        collate([one, showing(one, one.segment.frames[:-1])], tiny_loaded.renderer.image_pad_id)


def test_gradients_do_not_depend_on_the_order_of_threads():
    """Many rows, each taken several times."""
    numbers = torch.randint(0, 500, (4000,), generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:

        def gradient() -> torch.Tensor:
            values = torch.ones(500, 128, requires_grad=True)
            taken = losses._rows(values, numbers)
            (
                taken * torch.randn(taken.shape, generator=torch.Generator().manual_seed(1))
            ).sum().backward()
            assert values.grad is not None
            return values.grad

        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(20))
    finally:
        torch.set_num_threads(threads)


def test_members_of_a_group_stay_together_where_they_fit(tiny_loaded):
    def members(count: int) -> list[PolicySample]:
        (one,) = group(tiny_loaded, {})
        nothing = np.zeros(len(one.segment), np.float32)
        return [PolicySample(one, nothing, nothing.astype(bool)) for _ in range(count)]

    two, three, five = members(2), members(3), members(5)
    given = [two, three, five]
    assert micro_batches(given, 5) == [[*two, *three], five]
    assert micro_batches(given, 4) == [two, three, five[:4], five[4:]]
    assert micro_batches(given, 1) == [[sample] for group in given for sample in group]
    assert micro_batches(given, 16) == [[*two, *three, *five]]
