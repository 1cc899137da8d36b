"""Credit: from the scores of a group to an advantage for every trained token.

Axis letters: G members of a group, K exchanges of an episode, L tokens of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from oncue.render.trace import TokenTrace
from oncue.scoring.score import Score
from oncue.train.rl.gae import (
    bilevel_gae,
    masked_gae,
    paper_boundary,
    returns_to_go,
    turn_wise_gae,
    whiten,
    within_turns_gae,
)

__all__ = [
    "Advantages",
    "Credit",
    "CreditName",
    "GroupCredit",
    "OfTokens",
    "ReturnToGoCredit",
    "acted_in",
    "bilevel_gae",
    "group_advantages",
    "make_credit",
    "masked_gae",
    "num_turns",
    "of_tokens",
    "of_turns",
    "paper_boundary",
    "returns_to_go",
    "turn_wise_gae",
    "whiten",
    "within_turns_gae",
]

EPSILON = 1e-6

CreditName = Literal["group", "return_to_go"]
Advantages = tuple[
    np.ndarray, ...
]  # of each segment of a trace (L,) float32; 0 for what nobody chose


OfTokens = tuple[np.ndarray, ...]  # of each segment of a trace (L,): values, returns or rewards


class Credit(Protocol):
    """Gives every trained token of each member of a group its advantage.

    It only sums and compares what the reward put into `Score`; it asks no judge.
    """

    def __call__(
        self, scores: Sequence[Score], traces: Sequence[TokenTrace]
    ) -> list[Advantages]: ...


@dataclass(frozen=True, slots=True)
class GroupCredit:
    """Every turn gets the advantage of the whole episode (MMDuet2, paper section 4.3)."""

    scale_by_deviation: bool = True

    def __call__(self, scores: Sequence[Score], traces: Sequence[TokenTrace]) -> list[Advantages]:
        whole_G = group_advantages(
            [s.total for s in scores], scale_by_deviation=self.scale_by_deviation
        )
        return [
            of_tokens(trace, np.full(num_turns(trace), advantage, np.float32))
            for trace, advantage in zip(traces, whole_G, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class ReturnToGoCredit:
    """A turn gets what was earned from it on, compared with the same turn of the other members.

    The clock decides which turn comes when, so the comparison is fair. A member without that turn
    takes no part, and a turn that only one member has gets 0. In retrieval members end when they
    answer, so later turns are compared among fewer. `discount` per turn: below 1 later rewards
    count less, which is biased. Departs from paper: MMDuet2 gives all turns of an episode
    the same advantage. Raises ValueError for a score without a value for each exchange.
    """

    discount: float = 1.0
    scale_by_deviation: bool = True

    def __call__(self, scores: Sequence[Score], traces: Sequence[TokenTrace]) -> list[Advantages]:
        acted = [acted_in(trace) for trace in traces]
        for score, turns in zip(scores, acted, strict=True):
            if len(score.values) < len(turns):
                given = f"{len(score.values)} values for an episode of {len(turns)} turns"
                raise ValueError(f"a score needs a value for each turn, got {given}")
        returns = [returns_to_go(score.values, self.discount) for score in scores]
        advantages = [np.zeros(len(turns), np.float32) for turns in acted]
        for turn in range(max(map(len, acted), default=0)):
            members = [g for g, turns in enumerate(acted) if turn < len(turns) and turns[turn]]
            compared = group_advantages(
                [returns[g][turn] for g in members], scale_by_deviation=self.scale_by_deviation
            )
            for g, advantage in zip(members, compared, strict=True):
                advantages[g][turn] = advantage
        return [of_tokens(trace, gained) for trace, gained in zip(traces, advantages, strict=True)]


def make_credit(name: CreditName, *, discount: float, scale_by_deviation: bool) -> Credit:
    """The strategy of that name. `discount` is for `return_to_go` alone."""
    if name == "group":
        return GroupCredit(scale_by_deviation)
    return ReturnToGoCredit(discount, scale_by_deviation)


def group_advantages(rewards_G: Sequence[float], *, scale_by_deviation: bool = True) -> np.ndarray:
    """The advantage (G,) float32 of each member: reward minus the group's mean, over its standard
    deviation.

    A group without spread, or of one member, has advantage 0 throughout. `scale_by_deviation` False
    leaves the differences as they are. Source: GRPO (arXiv 2402.03300) section 4.1.2; the deviation
    is that of a sample (divided by G - 1).
    """
    rewards = np.asarray(rewards_G, np.float64)
    if len(rewards) < 2 or np.ptp(rewards) <= EPSILON:
        return np.zeros(len(rewards), np.float32)
    centred = rewards - rewards.mean()
    return (centred / (rewards.std(ddof=1) + EPSILON) if scale_by_deviation else centred).astype(
        np.float32
    )


def num_turns(trace: TokenTrace) -> int:
    """How many turns there are up to the last one in which something was chosen."""
    return max((int(segment.turn_of.max(initial=-1)) + 1 for segment in trace.segments), default=0)


def acted_in(trace: TokenTrace) -> np.ndarray:
    """(K,) bool: the turns in which something was chosen, up to the last of them."""
    acted_K = np.zeros(num_turns(trace), bool)
    for segment in trace.segments:
        acted_K[segment.turn_of[segment.loss_mask]] = True
    return acted_K


def of_tokens(trace: TokenTrace, advantages_K: np.ndarray) -> Advantages:
    """Gives every token the advantage of the turn that chose it."""
    padded = np.append(advantages_K, 0.0).astype(np.float32)  # turn -1: nobody chose it
    return tuple(padded[segment.turn_of] for segment in trace.segments)


def of_turns(trace: TokenTrace, advantages: Advantages) -> np.ndarray:
    """(K,) float64: the mean advantage of what each turn chose; 0 for a turn in which nothing was
    chosen."""
    turns = np.concatenate(
        [s.turn_of[s.loss_mask] for s in trace.segments] or [np.zeros(0, np.int64)]
    )
    gains = np.concatenate(
        [a[s.loss_mask] for s, a in zip(trace.segments, advantages, strict=True)] or [turns]
    )
    sums, counts = np.bincount(turns, gains), np.bincount(turns)
    return sums / np.maximum(counts, 1)
