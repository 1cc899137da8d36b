"""`oncue train average`: one model from several checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from oncue.startup import loading


@dataclass(frozen=True)
class TrainAverage:
    """Average the weights of several checkpoints of a run into one model.

    Example: oncue train average runs/mini-rl/checkpoints/step_* --out runs/mini-mean
    """

    checkpoints: tyro.conf.Positional[tuple[Path, ...]]
    """Checkpoint folders of one model (a run keeps as many as --keep-checkpoints says)."""

    out: Path
    """The model folder to write."""

    def run(self) -> int:
        """Write the folder. Returns the exit code."""
        with loading():
            from oncue.train.average import average_checkpoints

            average_checkpoints(self.checkpoints, self.out)
        print(f"the mean of {len(self.checkpoints)} checkpoints is in {self.out}")
        return 0
