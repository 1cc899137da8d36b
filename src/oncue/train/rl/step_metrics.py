"""What a step of reinforcement learning logs, what is stored of its rollouts, and what should worry
its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from oncue.records.judgements import judgement_lines
from oncue.records.retrieval_rollouts import StoredRetrieval, retrieval_line
from oncue.records.rollouts import StoredRollout, rollout_line
from oncue.rewards.proactive import Rollout
from oncue.rewards.retrieval import RetrievalReward
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.rewards.shown_names import TERM_PREFIX
from oncue.scoring.score import ObservingReward, Reward, Score
from oncue.train.rl.groups import Group
from oncue.types import Action, Episode, Malformed, Reply, Silence

FLAT_FRAC = 0.8  # of groups without spread


def step_metrics(groups: Sequence[Group], reward: Reward | None = None) -> dict[str, Any]:
    """Means over all rollouts of a step: reward and the terms it names, spread within groups, how
    much was said; and what only the `reward` has to say."""
    scores = [score for group in groups for score in group.scores]
    episodes = [episode for group in groups for episode in group.episodes]
    turns = [e.acted.action for episode in episodes for e in episode.exchanges if e.acted.sampled]
    spreads = [float(np.std([score.total for score in group.scores])) for group in groups]
    said = {} if isinstance(reward, RetrievalReward) else _said(turns, len(episodes))
    return {
        "reward": float(np.mean([score.total for score in scores])),
        **{
            TERM_PREFIX + name: float(np.mean([score.terms[name] for score in scores]))
            for name in _terms(scores)
        },
        "group_spread": float(np.mean(spreads)),
        "frac_reward_zero_std": float(np.mean([spread < 1e-6 for spread in spreads])),
        **said,
        "malformed_share": sum(isinstance(action, Malformed) for action in turns)
        / max(1, len(turns)),
        "num_unscored": sum(score.num_unscored for score in scores),
        "num_turns": len(turns),
        "num_skipped_rows": sum(bool(group.example.skipped) for group in groups),
        **(reward.metrics(episodes) if isinstance(reward, ObservingReward) else {}),
    }


def _said(turns: Sequence[Action], num_episodes: int) -> dict[str, float]:
    """How much was said in streams."""
    num_replies = sum(isinstance(action, Reply) for action in turns)
    num_silent = sum(isinstance(action, Silence) for action in turns)
    return {
        "reply_share": num_replies / max(1, len(turns)),
        "silence_share": num_silent / max(1, len(turns)),
        "replies_per_episode": num_replies / max(1, num_episodes),
    }


def _terms(scores: Sequence[Score]) -> list[str]:
    """The names of the terms, in the order in which scores have them."""
    return list(dict.fromkeys(name for score in scores for name in score.terms))


def rollout_lines(
    groups: Sequence[Group], step: int, reward: Reward | None = None
) -> list[dict[str, Any]]:
    """One line per rollout, in the form that `oncue score rewards` reads for its `reward`, with
    what the run made of it.

    A malformed turn is a silent one there, as it is to the reward; what it said is under
    `malformed`. A name is STEP/TASK/EXAMPLE/MEMBER: files with fewer examples than a step takes
    have the same task in it more than once. `turn_advantages` has one number per turn; `advantage`
    is their mean. `example` is the number of the example, from which it can be made again;
    `judgements` are lines as its replay:FILE reads them, left out where no judge was asked.
    """
    lines = []
    for group in groups:
        members = zip(group.episodes, group.scores, group.turn_advantages, strict=True)
        for member, (episode, score, gained) in enumerate(members):
            name = f"{step}/{episode.task.task_id}/{group.example.index}/{member}"
            judged = (
                {}
                if score.judgements is None
                else {"judgements": list(judgement_lines(name, score.judgements))}
            )
            of_turns = [gained[k] for k, e in enumerate(episode.exchanges) if e.acted.sampled]
            lines.append(
                {
                    **_line(name, episode, reward),
                    "task": episode.task.task_id,
                    "example": group.example.index,
                    **group.example.noted,
                    **dict(score.terms),
                    "reward": score.total,
                    "unscored": score.num_unscored,
                    "advantage": fmean(of_turns) if of_turns else 0.0,
                    "turn_advantages": of_turns,
                    **judged,
                }
            )
    return lines


def _line(name: str, episode: Episode, reward: Reward | None) -> dict[str, Any]:
    """What happened, as the records of that kind of task have it."""
    if isinstance(reward, RetrievalReward):
        rollout = RetrievalRollout.of(episode, reward.frames_of)
        return retrieval_line(StoredRetrieval(name, rollout))
    malformed = [
        {"time": e.observed.clock_s, "text": action.text, "reason": action.reason}
        for e in episode.exchanges
        if e.acted.sampled and isinstance(action := e.acted.action, Malformed)
    ]
    return {
        **rollout_line(StoredRollout(name, Rollout.of(episode))),
        "questions": [{"time": q.time_s, "text": q.text} for q in episode.task.questions],
        "malformed": malformed,
    }


def warnings_of(
    rows: Sequence[Mapping[str, Any]],
    reward: Reward | None = None,
    *,
    compares_members: bool = True,
) -> list[str]:
    """What the last steps (oldest first, the newest last) say that someone should look at.
    `compares_members`: whether credit comes from the spread within groups."""
    newest = rows[-1]
    found = []
    if compares_members and newest["frac_reward_zero_std"] >= FLAT_FRAC:
        found.append(
            f"{newest['frac_reward_zero_std']:.0%} of the groups have no spread: nothing can be "
            "learned from them; start from a "
            "model that is unsure when to speak (placement spread), or raise the temperature"
        )
    if newest["num_unscored"]:
        found.append(
            f"{newest['num_unscored']} judgements could not be had, and count in no term; oncue "
            "score rewards tells "
            "why, where rollouts are stored"
        )
    return [*found, *reward.warnings(rows)] if isinstance(reward, ObservingReward) else found
