"""From the scores of a step to advantages: the bonus of the whole batch first, then credit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from oncue.rewards.bootstrapping import Bootstrapping
from oncue.train.parallel import Ranks
from oncue.train.rl.advantage import OfTokens, make_credit
from oncue.train.rl.groups import Group, without_frames
from oncue.train.rl.policy_samples import Expected
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.rl.settings import GrpoConfig, PpoConfig


def shaped(groups: Sequence[Group], shaper: Bootstrapping | None, ranks: Ranks) -> list[Group]:
    """The groups of this process with the bonus in their scores: it depends on those of all."""
    if shaper is None:
        return list(groups)
    everyone = ranks.collect([without_frames(group) for group in groups])
    episodes = [episode for group in everyone for episode in group.episodes]
    scores = iter(shaper.shape(episodes, [score for group in everyone for score in group.scores]))
    of_all = [tuple(next(scores) for _ in group.episodes) for group in everyone]
    mine = ranks.deal(of_all)
    return [replace(group, scores=own) for group, own in zip(groups, mine, strict=True)]


def credited(
    groups: Sequence[Group], trainer: PolicyTrainer, config: GrpoConfig
) -> tuple[list[Group], dict[str, float]]:
    """The scored groups of this process with the advantages of every choice, and what is logged of
    them."""
    if isinstance(config, PpoConfig):
        return _by_critic(groups, trainer, config)
    credit = make_credit(
        config.credit, discount=config.credit_discount, scale_by_deviation=config.scale_by_deviation
    )
    return [group.credited(group.scores, credit) for group in groups], {}


def _by_critic(
    groups: Sequence[Group], trainer: PolicyTrainer, config: PpoConfig
) -> tuple[list[Group], dict[str, float]]:
    expected = [_by_trace(g, of) for g, of in zip(groups, trainer.expected(groups), strict=True)]
    flat = [of_trace for of_group in expected for of_trace in of_group]
    values = [tuple(one.values_L for one in of_trace) for of_trace in flat]
    kl = [tuple(one.kl_L for one in of_trace) for of_trace in flat]
    token_rewards = [tuple(-config.kl_in_reward * kl_L for kl_L in of) for of in kl]
    gather = trainer.ranks.gather
    advantages, returns = config.gae.credit()(
        [score for group in groups for score in group.scores],
        [trace for group in groups for trace in group.traces],
        values,
        token_rewards if config.kl_in_reward else None,
        everyone=lambda own_N: np.concatenate(gather(own_N)),
    )
    made, first = [], 0
    for group in groups:
        own = slice(first, first + len(group.traces))
        first = own.stop
        made.append(
            replace(
                group.with_advantages(advantages[own]),
                values=tuple(values[own]),
                returns=tuple(returns[own]),
            )
        )
    return made, _logged(made, kl if trainer.has_reference else None, gather)


def _by_trace(group: Group, of_samples: Sequence[Expected]) -> list[tuple[Expected, ...]]:
    """Of each member, of each segment of its trace: samples come in this order."""
    left = iter(of_samples)
    return [tuple(next(left) for _ in trace.segments) for trace in group.traces]


def _logged(
    groups: Sequence[Group], kl: Sequence[OfTokens] | None, gather: Callable[[Any], list[Any]]
) -> dict[str, float]:
    """How well the critic did before the update, and how far the policy is from its start, where
    that is known."""
    masks = [s.loss_mask for group in groups for trace in group.traces for s in trace.segments]

    def of_all(given: Sequence[OfTokens]) -> np.ndarray:
        flat = [one for of_trace in given for one in of_trace]
        own = np.concatenate([o[m] for o, m in zip(flat, masks, strict=True)] or [np.zeros(0)])
        return np.concatenate(gather(own)).astype(np.float64)

    values = of_all([v for group in groups for v in group.values])
    returns = of_all([r for group in groups for r in group.returns])
    spread = float(np.var(returns))
    return {
        "value_mean": float(values.mean()),
        "return_mean": float(returns.mean()),
        **({"explained_variance": 1 - float(np.var(returns - values)) / spread} if spread else {}),
        **({} if kl is None else {"kl_from_start": float(of_all(kl).mean())}),
    }
