"""Averages what is logged between two lines of `metrics.jsonl`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oncue.data.bad_rows import skipped_warning
from oncue.train.run_dir import RunDirectory


class Meter:
    """Collects the numbers of every step and logs them every `every` steps.

    `unlogged` is what has been collected since the last line; given to a new meter, the lines go on
    as if the run had never stopped.
    """

    def __init__(
        self,
        run: RunDirectory,
        report: Callable[[dict[str, Any]], None],
        every: int,
        total: int,
        unlogged: Mapping[str, Any],
    ) -> None:
        self._run, self._report, self._every, self._total = run, report, every, total
        self._losses: list[float] = list(unlogged.get("losses", ()))
        self._num_tokens = int(unlogged.get("num_tokens", 0))
        self._num_cut = int(unlogged.get("num_cut", 0))
        self._skipped: list[str] = list(unlogged.get("skipped", ()))
        self._started = time.monotonic() - float(unlogged.get("seconds", 0.0))
        self._last: dict[str, Any] = dict(unlogged.get("last", {}))

    @property
    def unlogged(self) -> dict[str, Any]:
        return {
            "losses": self._losses,
            "num_tokens": self._num_tokens,
            "num_cut": self._num_cut,
            "skipped": self._skipped,
            "seconds": time.monotonic() - self._started,
            "last": self._last,
        }

    def step(
        self,
        step: int,
        *,
        stage: str,
        loss: float,
        grad_norm: float,
        rate: float,
        num_tokens: int,
        num_cut: int,
        skipped: Sequence[str] = (),
    ) -> None:
        """Take in the numbers of the step that is number `step`, from 1, and what is wrong with
        rows it skipped."""
        self._losses.append(loss)
        self._num_tokens += num_tokens
        self._num_cut += num_cut
        self._skipped += skipped
        self._last = {"stage": stage, "grad_norm": grad_norm, "learning_rate": rate}
        if step % self._every == 0:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Log what has been collected, if anything has."""
        if not self._losses:
            return
        seconds = time.monotonic() - self._started
        metrics = {
            "step": step,
            "total_steps": self._total,
            **self._last,
            "loss": sum(self._losses) / len(self._losses),
            "tokens_per_s": self._num_tokens / max(seconds, 1e-9),
            "num_cut_dialogues": self._num_cut,
            "num_skipped_rows": len(self._skipped),
        }
        if warnings := skipped_warning(self._skipped):
            metrics["warnings"] = warnings
        self._run.log(metrics)
        self._losses, self._num_tokens, self._num_cut, self._skipped = [], 0, 0, []
        self._started = time.monotonic()
        # Last: where nobody reads it any more, the line is logged all the same
        self._report(metrics)
