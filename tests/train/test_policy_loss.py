"""Laws of the clipped surrogate: golden values, and no gain beyond the clip."""

from __future__ import annotations

import math

import pytest
import torch

from oncue.train.rl.policy_loss import LossSettings, policy_loss


def two_choices(p: float) -> torch.Tensor:
    return torch.log(torch.tensor([[p, 1 - p]])).requires_grad_()


@pytest.mark.parametrize(
    ("p", "old", "advantage", "expected"),
    [
        (0.5, 0.5, 2.0, -2.0),  # the same policy
        (0.5, 0.5, 0.5, -0.5),
        (0.55, 0.5, 1.0, -1.1),  # inside the clip
        (0.9, 0.5, 1.0, -1.2),  # beyond it: no further gain
        (0.1, 0.5, 1.0, -0.2),  # worse is counted in full
        (0.1, 0.5, -1.0, 0.8),  # less of what was bad: clipped
        (0.9, 0.5, -1.0, 1.8),  # more of what was bad: in full
    ],
)
def test_the_surrogate(p: float, old: float, advantage: float, expected: float) -> None:
    logprobs = two_choices(p)
    made = policy_loss(
        logprobs,
        torch.tensor([0]),
        torch.tensor([math.log(old)]),
        torch.tensor([advantage]),
        LossSettings(),
    )
    assert made.loss.item() == pytest.approx(expected, abs=1e-6)
    made.loss.backward()
    assert logprobs.grad is not None
    flat = (advantage > 0 and p / old > 1.2) or (advantage < 0 and p / old < 0.8)
    assert (logprobs.grad[0, 0] == 0) == flat
    assert made.num_clipped == flat


@pytest.mark.parametrize(
    ("p", "advantage", "expected"),
    [
        (0.5, 1.0, -1.3),  # the ratio 2 has no gain beyond 1 + clip_high
        (0.325, 1.0, -1.3),  # the very edge of it
        (0.1, -1.0, 0.9),  # the ratio 0.4 has no gain below 1 - clip_low
        (0.225, -1.0, 0.9),
    ],
)
def test_each_side_has_its_own_clip(p: float, advantage: float, expected: float) -> None:
    old, settings = torch.tensor([math.log(0.25)]), LossSettings(clip_low=0.1, clip_high=0.3)
    made = policy_loss(two_choices(p), torch.tensor([0]), old, torch.tensor([advantage]), settings)
    assert made.loss.item() == pytest.approx(expected, abs=1e-6)


def test_by_default_it_is_clipped_and_nothing_else() -> None:
    plain = LossSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=0.0, entropy_coefficient=0.0)
    assert LossSettings() == plain


def test_divergence_and_entropy() -> None:
    logprobs = two_choices(0.25)
    settings = LossSettings(kl_coefficient=0.5, entropy_coefficient=0.1)
    made = policy_loss(
        logprobs,
        torch.tensor([0]),
        logprobs[:, 0].detach(),
        torch.zeros(1),
        settings,
        torch.log(torch.tensor([0.5])),
    )
    kl = 0.5 / 0.25 - math.log(0.5 / 0.25) - 1
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert made.sum_kl == pytest.approx(kl)
    assert made.sum_entropy == pytest.approx(entropy)
    assert made.loss.item() == pytest.approx(0.5 * kl - 0.1 * entropy)


@pytest.mark.parametrize(
    ("gap", "expected"), [(19.0, math.exp(19) - 20), (30.0, math.exp(20) - 21), (-30.0, 19.0)]
)
def test_the_divergence_of_what_is_far_from_the_reference_stays_a_number(
    gap: float, expected: float
) -> None:
    logprobs = two_choices(0.25)
    at = logprobs[:, 0].detach()
    made = policy_loss(logprobs, torch.tensor([0]), at, torch.zeros(1), LossSettings(), at + gap)
    assert made.sum_kl == pytest.approx(expected, rel=1e-5)


def test_what_a_cut_leaves_out_gives_no_nan() -> None:
    scores = torch.tensor([[1.0, 0.5, -math.inf]], requires_grad=True)
    made = policy_loss(
        scores.log_softmax(-1),
        torch.tensor([2]),  # drawn before, now outside of top_k
        torch.tensor([-1.0]),
        torch.tensor([1.0]),
        LossSettings(entropy_coefficient=0.1),
    )
    made.loss.backward()
    assert scores.grad is not None
    assert scores.grad[0, :2].isfinite().all()
    assert made.loss.item() == pytest.approx(
        -0.1 * made.sum_entropy, abs=1e-6
    )  # its ratio is 0, as is its gain
    assert (made.num_clipped, made.max_ratio_gap) == (0, pytest.approx(1.0, abs=1e-6))


def test_what_a_cut_leaves_out_has_no_divergence() -> None:
    """Its log-probability is not known, only that it is none of the likeliest."""
    scores = torch.tensor([[1.0, 0.5, -math.inf], [1.0, 0.5, 0.0]], requires_grad=True)
    drawn, reference = torch.tensor([2, 0]), torch.tensor([-1.0, -1.0])
    settings = LossSettings(kl_coefficient=0.1)
    made = policy_loss(
        scores.log_softmax(-1), drawn, torch.full((2,), -1.0), torch.zeros(2), settings, reference
    )
    alone = policy_loss(
        scores[1:].log_softmax(-1),
        drawn[1:],
        torch.full((1,), -1.0),
        torch.zeros(1),
        settings,
        reference[1:],
    )
    assert made.sum_kl == pytest.approx(alone.sum_kl)
    assert 0 < made.sum_kl < 1
    made.loss.backward()
    assert scores.grad is not None
    assert scores.grad[:, :2].isfinite().all()
