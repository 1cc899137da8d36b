"""What training by the proactive reward watches beside the reward: repetition, delay, and signs of
trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oncue.scoring.spans import replies_in
from oncue.types import Episode, Reply

TREND_STEPS = 20
REWARD_GREW = 0.05  # in so many steps
PAUC_STOOD = 0.005  # what it must have grown by, of 1, to count as growth


def proactive_metrics(episodes: Sequence[Episode]) -> dict[str, float | None]:
    """The share of replies that are word for word an earlier one, and the mean delay of the first
    in a span."""
    num_replies = sum(len(episode.replies) for episode in episodes)
    return {
        "repeated_share": sum(map(_num_repeated, episodes)) / max(1, num_replies),
        "first_reply_delay_s": _first_reply_delay_s(episodes),
    }


def proactive_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the last steps (oldest first, the newest last) say that someone should look at."""
    newest, found = rows[-1], []
    if newest["reply_share"] == 0:
        found.append("no rollout spoke in this step: the policy has fallen silent")
    if newest["reply_share"] > 0.8:
        found.append(
            f"{newest['reply_share']:.0%} of all turns are replies: the policy talks all the time"
        )
    if len(rows) >= 2 * TREND_STEPS:
        earlier, later = rows[-2 * TREND_STEPS : -TREND_STEPS], rows[-TREND_STEPS:]
        grown = {
            name: _mean(later, name) - _mean(earlier, name) for name in ("reward", "reward_pauc")
        }
        if grown["reward"] > REWARD_GREW and grown["reward_pauc"] < PAUC_STOOD:
            found.append(
                "the reward grows and PAUC does not: penalties are being dodged rather than "
                "replies improved"
            )
    return found


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _num_repeated(episode: Episode) -> int:
    history = [e.acted.action for e in episode.exchanges if not e.acted.sampled]
    said = {action.text.strip() for action in history if isinstance(action, Reply)}
    num = 0
    for reply in episode.replies:
        num += reply.text.strip() in said
        said.add(reply.text.strip())
    return num


def _first_reply_delay_s(episodes: Sequence[Episode]) -> float | None:
    """Mean seconds from an event being visible to the first reply in its span; None where no span
    was answered."""
    delays = []
    for episode in episodes:
        for gold in episode.task.gold:
            inside = replies_in(episode.replies, gold.span)
            if inside:
                delays.append(
                    inside[0].time_s
                    - (gold.span.start_s if gold.visible_s is None else gold.visible_s)
                )
    return float(np.mean(delays)) if delays else None
