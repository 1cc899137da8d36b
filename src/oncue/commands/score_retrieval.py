"""`oncue score rewards` of stored episodes of retrieval."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.errors import ConfigError
from oncue.terminal import console_on

if TYPE_CHECKING:
    from oncue.eval.table import TextTable
    from oncue.records.retrieval_rescoring import ScoredRetrieval
    from oncue.rewards.retrieval import Profile

PROFILES: dict[str, Profile] = {"video-mtr": "paper", "video-mtr-release": "release"}


def score_episodes(
    episodes: Path, profile: str, lambda_drop: float | None, *, as_json: bool
) -> int:
    """Reads, scores and prints. Returns the exit code."""
    from oncue.records.retrieval_rescoring import missing_lines, score_retrieval
    from oncue.records.retrieval_rollouts import read_retrieval_rollouts
    from oncue.rewards.retrieval import RetrievalRewardSettings

    settings = RetrievalRewardSettings(PROFILES[profile])
    if lambda_drop is not None:
        if settings.profile != "paper":
            raise ConfigError(
                f"--lambda-drop is for --profile video-mtr; leave it out with {profile}"
            )
        settings = RetrievalRewardSettings(settings.profile, lambda_drop)
    scored = score_retrieval(read_retrieval_rollouts(episodes), settings)
    if as_json:
        for one in scored:
            print(json.dumps(one.line(), ensure_ascii=False))
    else:
        table, console = _table(scored, profile), console_on(sys.stdout)
        console.print(
            table.rich() if console.is_terminal else table.plain(), markup=False, soft_wrap=True
        )
    for line in missing_lines(scored):
        print(line, file=sys.stderr)
    return 0


def _table(scored: Sequence[ScoredRetrieval], profile: str) -> TextTable:
    """Mean, lowest and highest of every term and of the reward, over the episodes where each is
    known."""
    from oncue.eval.table import TextTable

    lines = [one.line() for one in scored]
    rows = []
    for name in (*scored[0].score.terms, "reward"):
        known = [line[name] for line in lines if line[name] is not None]
        numbers = (sum(known) / len(known), min(known), max(known)) if known else ()
        cells = [f"{number:.4f}" for number in numbers] or ["-"] * 3
        rows.append((name, str(len(known)), *cells))
    title = f"Reward, profile {profile} (N = {len(scored)} episodes)"
    return TextTable(title, ("term", "known", "mean", "lowest", "highest"), tuple(rows))
