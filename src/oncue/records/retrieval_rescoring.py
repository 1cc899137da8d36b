"""The reward of stored episodes of retrieval once more. Nobody is asked: it follows from the
line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oncue.records.retrieval_rollouts import StoredRetrieval
from oncue.rewards.retrieval import RetrievalRewardSettings, score_rollout, unscored
from oncue.scoring.score import Score


@dataclass(frozen=True, slots=True)
class ScoredRetrieval:
    """A stored episode and its reward. `missing`: by term, why something is not known."""

    episode_id: str
    score: Score
    missing: dict[str, tuple[str, ...]]

    def line(self) -> dict[str, Any]:
        """For JSON: the terms, their sum, and how much was not known. What depends on that is None:
        of an answer that cannot be checked all terms, because they depend on the gate."""
        terms: dict[str, float | None] = {k: v + 0.0 for k, v in self.score.terms.items()}  # no -0
        reward: float | None = self.score.total + 0.0
        if self.missing["accuracy"]:
            terms, reward = dict.fromkeys(terms), None
        elif self.missing["frames"]:
            terms["frames"], reward = None, None
        unknown = self.score.num_unscored
        return {"episode_id": self.episode_id, **terms, "reward": reward, "unscored": unknown}


def score_retrieval(
    stored: Sequence[StoredRetrieval], settings: RetrievalRewardSettings
) -> list[ScoredRetrieval]:
    """Each episode with its reward, in order."""
    return [
        ScoredRetrieval(
            one.episode_id,
            score_rollout(one.rollout, settings),
            {
                term: tuple(mark.reason for mark in found)
                for term, found in unscored(one.rollout).items()
            },
        )
        for one in stored
    ]


def missing_lines(scored: Sequence[ScoredRetrieval]) -> list[str]:
    """What to say where something is not known: how often, in how many episodes, and why."""
    reasons = Counter(why for one in scored for found in one.missing.values() for why in found)
    if not reasons:
        return []
    num_episodes = sum(one.score.num_unscored > 0 for one in scored)
    return [
        f"not known: {reasons.total()} facts of {num_episodes} of {len(scored)} episodes; what "
        "depends on them counts in no mean",
        *(f"  {number} x {why}" for why, number in reasons.most_common()),
    ]
