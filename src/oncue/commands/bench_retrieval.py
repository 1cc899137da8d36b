"""`oncue bench retrieval`: what episodes that look into videos cost, in a batch and one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass

from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress


@dataclass(frozen=True)
class BenchRetrieval:
    """Measure retrieval episodes (16 frames, two looks of 8, then the answer) on random weights and
    frames: all in one batch against one after the other, and where the time goes. On a GPU the
    model has the shapes of Qwen2.5-VL-3B in bfloat16, elsewhere it has 15 million parameters.

    Example: oncue bench retrieval --json
    """

    episodes: int = 8
    """Episodes at once, and one by one."""

    answer_tokens: int = 40
    """Tokens of the answer in each turn, thought included."""

    rounds: int = 3
    """How often both ways are timed."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    seed: int = 0
    """Seed of weights and frames."""

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Measure and show. Returns the exit code."""
        import asyncio

        check_smallest(self, episodes=1, answer_tokens=2, rounds=1, seed=0)
        from oncue.bench.retrieval import (
            RetrievalBenchSettings,
            lines_of,
            measure_retrieval,
            random_policy,
        )

        settings = RetrievalBenchSettings(self.episodes, self.rounds, self.answer_tokens)
        loaded = random_policy(self.device, self.seed)
        with Progress("measuring", 1 + 2 * self.rounds) as progress:
            figures = asyncio.run(measure_retrieval(loaded, settings, self.seed, progress.step))
        print(json.dumps(figures, allow_nan=False) if self.json else "\n".join(lines_of(figures)))
        return 0
