"""The clipped surrogate of GRPO, and what is watched beside it. Axis letters: C trained choices, V
vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncue.setting_checks import require_frac, require_not_negative


@dataclass(frozen=True, slots=True)
class LossSettings:
    """`clip_low`, `clip_high`: the ratio may leave [1 - low, 1 + high] without gain.
    `kl_coefficient`: weight of the divergence from the reference (the estimator of GRPO, never
    negative). `entropy_coefficient`: reward for spread. Raises ConfigError for a value out of
    range."""

    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.0

    def __post_init__(self) -> None:
        require_frac(self, "clip_low")
        require_not_negative(self, "clip_high", "kl_coefficient", "entropy_coefficient")


@dataclass(frozen=True, slots=True, eq=False)
class PolicyLoss:
    """Sums over choices, to be divided by the number of choices of the whole step. `loss` has a
    gradient."""

    loss: Tensor
    num_clipped: int
    sum_entropy: float
    sum_kl: float
    max_ratio_gap: float
    num_choices: int
    num_cut: int  # that `top_k` or `top_p` of the current weights leaves out


def policy_loss(
    logprobs_CV: Tensor,
    targets_C: Tensor,
    old_logprobs_C: Tensor,
    advantages_C: Tensor,
    settings: LossSettings,
    reference_C: Tensor | None = None,
) -> PolicyLoss:
    """The summed loss of these choices.

    `logprobs_CV` are those of `token_logprobs` under the current weights; `old_logprobs_C` what the
    sampler reported. Source: PPO (arXiv 1707.06347) equation 7 per choice, GRPO (arXiv 2402.03300)
    equation 4 for the divergence.
    """
    logprobs_C = logprobs_CV.gather(1, targets_C[:, None])[:, 0]
    cut_C = torch.isinf(
        logprobs_C
    )  # top_k or top_p of the new weights leaves the choice out: it has no gradient
    logprobs_C = torch.where(cut_C, old_logprobs_C - 20.0, logprobs_C)
    ratio_C = (logprobs_C - old_logprobs_C).exp()
    clipped_C = ratio_C.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    gains_C = torch.minimum(ratio_C * advantages_C, clipped_C * advantages_C)
    # what is cut has log-probability -inf and takes no part; masked before the product, or its
    # gradient would be NaN
    entropy_C = -(logprobs_CV.exp() * logprobs_CV.masked_fill(torch.isinf(logprobs_CV), 0.0)).sum(
        -1
    )
    loss = -gains_C.sum() - settings.entropy_coefficient * entropy_C.sum()
    kl_C = torch.zeros_like(ratio_C)
    if reference_C is not None:
        gap_C = (reference_C - logprobs_C).clamp(-20.0, 20.0)
        kl_C = torch.where(
            cut_C, 0.0, gap_C.exp() - gap_C - 1
        )  # what is cut cannot be measured, and has no gradient
        loss = loss + settings.kl_coefficient * kl_C.sum()
    return PolicyLoss(
        loss,
        int((ratio_C * advantages_C > clipped_C * advantages_C).sum()),
        float(entropy_C.detach().sum()),
        float(kl_C.detach().sum()),
        float((ratio_C.detach() - 1).abs().max()) if len(ratio_C) else 0.0,
        len(ratio_C),
        int(cut_C.sum()),
    )
