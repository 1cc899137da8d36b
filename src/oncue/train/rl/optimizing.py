"""The optimiser of a policy and its critic: their rates, and how their gradients are clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.schedule import scheduled_rate
from oncue.train.sharding import as_number

Parameters = Sequence[torch.nn.Parameter]


def make_optimizer(
    config: GrpoConfig, policy: Parameters, of_critic: Sequence[Parameters]
) -> torch.optim.Optimizer:
    """AdamW with a group for the policy, and one for each part of a critic. A part is sharded as a
    whole, or not at all."""
    groups: list[dict[str, Any]] = [{"params": part} for part in (policy, *of_critic)]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def set_rates(optimizer: torch.optim.Optimizer, config: GrpoConfig, step: int) -> float:
    """Puts the learning rates of `step` into the optimiser; returns that of the policy."""
    critic_peak = config.critic.learning_rate if isinstance(config, PpoConfig) else 0.0
    rates = [
        scheduled_rate(
            peak,
            step,
            config.num_steps,
            warmup=config.warmup_steps,
            final_frac=config.final_learning_rate_frac,
        )
        for peak in (config.learning_rate, critic_peak)
    ]
    for number, group in enumerate(optimizer.param_groups):
        group["lr"] = rates[min(number, 1)]
    return rates[0]


def clip_gradients(parts: Sequence[Parameters], max_norm: float) -> float:
    """Clips the norm of the gradient of all parts together; returns what it was before."""
    if len(parts) == 1:
        return as_number(torch.nn.utils.clip_grad_norm_(parts[0], max_norm))
    # torch cannot add up sharded numbers and whole ones
    norms = [as_number(torch.nn.utils.clip_grad_norm_(part, math.inf)) for part in parts]
    norm = math.hypot(*norms)
    for parameter in (p for part in parts for p in part if p.grad is not None):
        parameter.grad.mul_(min(1.0, max_norm / (norm + 1e-6)))  # type: ignore[union-attr]
    return norm
