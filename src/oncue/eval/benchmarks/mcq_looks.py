"""Where a policy looked, of questions whose place in the video is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.eval.benchmarks.mcq_result import Mode
from oncue.eval.table import TextTable, percent, rounded
from oncue.records.retrieval_rollouts import retrieval_of
from oncue.rewards.retrieval_log import retrieval_metrics

_SHARES = {
    "hit_share": "hits %",
    "hit_elsewhere": "elsewhere %",
    "better_share": "better %",
    "seen_share": "seen %",
    "distinct_ranges": "distinct %",
}


@dataclass(frozen=True, slots=True)
class McqLooks:
    """What `retrieval_metrics` has of each mode that shows frames: a share of looks, of episodes
    or of ranges, from 0 to 1; None where there is nothing to count."""

    by_mode: Mapping[Mode, Mapping[str, float | None]]

    @classmethod
    def of(cls, lines: Mapping[Mode, Sequence[str]]) -> McqLooks | None:
        """Those of stored episodes; None where no place is known, or no frame was shown."""
        by_mode = {}
        for mode, of_mode in lines.items():
            stored = (retrieval_of(json.loads(line), "a stored episode") for line in of_mode)
            known = [each.rollout for each in stored if each.rollout.evidence is not None]
            if any(turn.indices for rollout in known for turn in rollout.turns):
                asked = [rollout for rollout in known if rollout.turns]
                by_mode[mode] = {**retrieval_metrics(asked), "num_episodes": len(asked)}
        return cls(by_mode) if by_mode else None

    def as_json(self) -> dict[str, Any]:
        """For each mode the numbers of episodes and looks, and shares in percent."""
        return {
            mode: {
                "n_episodes": found["num_episodes"],
                "n_looks": found["num_looks"],
                "looks_per_episode": rounded(found["looks_per_episode"], 3),
                **{name: percent(found[name]) for name in _SHARES},
            }
            for mode, found in self.by_mode.items()
        }

    def table(self) -> TextTable:
        rows = []
        for mode, each in self.as_json().items():
            shares = ("-" if each[name] is None else f"{each[name]:.2f}" for name in _SHARES)
            rows.append((mode, str(each["n_episodes"]), str(each["n_looks"]), *shares))
        header = ("mode", "N", "looks", *_SHARES.values())
        return TextTable("Where it looks", header, tuple(rows))
