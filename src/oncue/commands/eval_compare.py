"""`oncue eval compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from oncue.commands.evaluating import report
from oncue.commands.number_checks import check_smallest
from oncue.files import prepare_folder


@dataclass(frozen=True)
class EvalCompare:
    """Compare two scored runs of one benchmark on the same items: every figure of both, their
    difference with its 95 % interval and p value, and the items that changed most.

    Benchmark, variants, judge and items must be the same; the protocols may differ, and both are
    printed.

    Example: oncue eval compare runs/base runs/new
    """

    a: tyro.conf.Positional[Path]
    """The --out folder of a run, or the scores.json in it."""

    b: tyro.conf.Positional[Path]
    """That of the other run; differences are B - A."""

    show: int = 20
    """How many of the items that changed most are shown."""

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for comparison.json."""

    def run(self) -> int:
        """Read both, compare, report. Returns the exit code."""
        from oncue.eval.benchmarks.stored_run import open_run
        from oncue.eval.streams.comparison import compare_runs

        check_smallest(self, show=0)
        if self.out is not None:
            prepare_folder(self.out, files=("comparison.json",))
        comparison = compare_runs(open_run(self.a), open_run(self.b), self.show)
        report(self, comparison, {}, file="comparison.json")
        return 0
