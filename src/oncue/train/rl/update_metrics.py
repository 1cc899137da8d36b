"""What is logged of the updates of a step: sums over choices of all processes, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncue.train.rl.policy_loss import PolicyLoss
from oncue.train.rl.value_loss import ValueLoss

GAP = "max_ratio_gap"  # the one that is a greatest value, not a sum


def own_sums(losses: Sequence[tuple[PolicyLoss, ValueLoss | None]]) -> dict[str, float]:
    """The sums of these micro-batches, and the greatest gap."""
    values = [value for _, value in losses if value is not None]
    return {
        "loss": sum(float(made.loss.detach()) for made, _ in losses),
        "clipped": sum(made.num_clipped for made, _ in losses),
        "entropy": sum(made.sum_entropy for made, _ in losses),
        "kl": sum(made.sum_kl for made, _ in losses),
        "seen": sum(made.num_choices for made, _ in losses),
        "cut": sum(made.num_cut for made, _ in losses),
        "value_loss": sum(float(value.loss.detach()) for value in values),
        "value_clipped": sum(value.num_clipped for value in values),
        GAP: max((made.max_ratio_gap for made, _ in losses), default=0.0),
    }


def sums_of(processes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums of all processes, and the greatest gap."""
    total = {name: sum(sums[name] for sums in processes) for name in processes[0]}
    return {**total, GAP: max(sums[GAP] for sums in processes)}


def update_metrics(
    sums: Mapping[str, float], num_choices: int, norms: Sequence[float], *, has_critic: bool
) -> dict[str, float]:
    """Means over the `num_choices` of one update. `norms`: of the gradient of the policy, then of
    the critic."""
    of_critic = {
        "value_loss": sums["value_loss"] / num_choices,
        "value_clip_frac": sums["value_clipped"] / num_choices,
        "critic_grad_norm": sum(norm**2 for norm in norms[1:]) ** 0.5,
    }
    return {
        "loss": sums["loss"] / num_choices,
        "grad_norm": norms[0],
        "clip_frac": sums["clipped"] / num_choices,
        "entropy": sums["entropy"] / sums["seen"],
        "kl": sums["kl"] / sums["seen"],
        GAP: sums[GAP],
        "frac_sampled_outside_top_k": sums["cut"] / sums["seen"],
        "num_choices": float(num_choices),
        **(of_critic if has_critic else {}),
    }


def of_step(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What is logged of a step of these updates: means, but for the number of choices and the
    greatest gap."""
    values = {name: [update[name] for update in updates] for name in updates[0]}
    means = {name: sum(of_updates) / len(updates) for name, of_updates in values.items()}
    return {**means, "num_choices": sum(values["num_choices"]), GAP: max(values[GAP])}
