"""The reward of stored rollouts once more: by a judge, or from recorded judgements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.records.rollouts import StoredRollout
from oncue.rewards.proactive import (
    TERMS,
    Judgements,
    RewardSettings,
    RewardTerms,
    judge_rollout,
    reward_terms,
)
from oncue.scoring.judge import Judge

# rollouts whose questions are on the way together; the judge bounds the questions themselves
NUM_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class ScoredRollout:
    """A rollout, what was judged about it, and its reward."""

    stored: StoredRollout
    judgements: Judgements
    terms: RewardTerms

    def line(self) -> dict[str, Any]:
        """For JSON: the signed terms, their weighted sum, and how many judgements were missing."""
        # + 0.0: there is no -0
        numbers = {name: getattr(self.terms, name) + 0.0 for name in (*TERMS, "reward")}
        return {
            "episode_id": self.stored.episode_id,
            **numbers,
            "unscored": self.terms.num_unscored,
        }


async def score_rollouts(
    stored: Sequence[StoredRollout],
    judge: Judge | Mapping[str, Judgements],
    settings: RewardSettings,
) -> AsyncGenerator[ScoredRollout, None]:
    """Each rollout with its reward, in order, as soon as it is there. `judge` may be recorded
    judgements.

    Raises what the judge raises; what came before has then been yielded.
    """
    slots = asyncio.Semaphore(NUM_AT_ONCE)

    async def score(one: StoredRollout) -> ScoredRollout:
        if isinstance(judge, Mapping):
            judgements = judge.get(one.episode_id, Judgements())
        else:
            async with slots:
                judgements = await judge_rollout(one.rollout, judge, settings)
        return ScoredRollout(one, judgements, reward_terms(one.rollout, judgements, settings))

    tasks = [asyncio.ensure_future(score(one)) for one in stored]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
