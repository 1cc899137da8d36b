"""The clipped surrogate of GRPO, and what is watched beside it. Axis letters: T trained choices, V vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oncue.train.checks import require_not_negative, require_share


@dataclass(frozen=True, slots=True)
class LossSettings:
    """`clip_low`, `clip_high`: the ratio may leave [1 - low, 1 + high] without gain. `kl_coefficient`: weight of the
    divergence from the reference (the estimator of GRPO, never negative). `entropy_coefficient`: reward for spread.
    Raises ConfigError for a value out of range."""

    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.0

    def __post_init__(self) -> None:
        require_share(self, "clip_low")
        require_not_negative(self, "clip_high", "kl_coefficient", "entropy_coefficient")


@dataclass(frozen=True, slots=True, eq=False)
class PolicyLoss:
    """Sums over choices, to be divided by the number of choices of the whole step. `loss` has a gradient."""

    loss: Tensor
    num_clipped: int
    sum_entropy: float
    sum_kl: float
    max_ratio_gap: float
    num_choices: int


def policy_loss(
    logprobs_TV: Tensor,
    targets_T: Tensor,
    old_logprobs_T: Tensor,
    advantages_T: Tensor,
    settings: LossSettings,
    reference_T: Tensor | None = None,
) -> PolicyLoss:
    """The summed loss of these choices.

    `logprobs_TV` are those of `token_logprobs` under the current weights; `old_logprobs_T` what the sampler reported.
    Source: PPO (arXiv 1707.06347) equation 7 per choice, GRPO (arXiv 2402.03300) equation 4 for the divergence.
    """
    logprobs_T = logprobs_TV.gather(1, targets_T[:, None])[:, 0]
    cut_T = torch.isinf(logprobs_T)  # top_k or top_p of the new weights leaves the choice out: it has no gradient
    logprobs_T = torch.where(cut_T, old_logprobs_T - 20.0, logprobs_T)
    ratio_T = (logprobs_T - old_logprobs_T).exp()
    clipped_T = ratio_T.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    gains_T = torch.minimum(ratio_T * advantages_T, clipped_T * advantages_T)
    # what is cut has log-probability -inf and takes no part; masked before the product, or its gradient would be NaN
    entropy_T = -(logprobs_TV.exp() * logprobs_TV.masked_fill(torch.isinf(logprobs_TV), 0.0)).sum(-1)
    loss = -gains_T.sum() - settings.entropy_coefficient * entropy_T.sum()
    kl_T = torch.zeros_like(ratio_T)
    if reference_T is not None:
        gap_T = (reference_T - logprobs_T).clamp(-20.0, 20.0)
        kl_T = torch.where(cut_T, 0.0, gap_T.exp() - gap_T - 1)  # what is cut cannot be measured, and has no gradient
        loss = loss + settings.kl_coefficient * kl_T.sum()
    return PolicyLoss(
        loss,
        int((ratio_T * advantages_T > clipped_T * advantages_T).sum()),
        float(entropy_T.detach().sum()),
        float(kl_T.detach().sum()),
        float((ratio_T.detach() - 1).abs().max()) if len(ratio_T) else 0.0,
        len(ratio_T),
    )
