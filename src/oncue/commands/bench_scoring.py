"""`oncue bench scoring`: what scoring the predictions of others costs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from oncue.commands.progress import Progress


@dataclass(frozen=True)
class BenchScoring:
    """Measure how long it takes to score 4,000 replies to 1,427 questions from recorded judgements,
    and how much memory 10,000 and 100,000 replies take. The files are made up, in the size of
    ProactiveVideoQA. Two minutes on two cores.

    Example: oncue bench scoring --json
    """

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Measure and show. Returns the exit code."""
        from oncue.bench.scoring import NUM_STEPS, measure_scoring

        with Progress("measuring", NUM_STEPS) as progress:
            figures = measure_scoring(progress.step)
        if self.json:
            print(json.dumps(figures))
        else:
            print("\n".join(f"{name:<26} {value:.6g}" for name, value in figures.items()))
        return 0
