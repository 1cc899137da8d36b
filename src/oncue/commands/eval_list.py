"""`oncue eval list`."""

from __future__ import annotations

import json
from dataclasses import dataclass

import tyro


@dataclass(frozen=True)
class EvalList:
    """Say of each benchmark what it measures, which data it needs and where from, its licence, its
    headlines and variants, and what is known to be wrong with it.

    Example: oncue eval list omnimmi
    """

    name: tyro.conf.Positional[str | None] = None
    """One benchmark, with everything that is known of it; by default all, in short."""

    json: bool = False
    """One JSON object per line and benchmark, with everything."""

    def run(self) -> int:
        """Print it. Returns the exit code."""
        from oncue.eval.benchmarks.catalogue import entries, entry

        shown = entries() if self.name is None else (entry(self.name),)
        for number, each in enumerate(shown):
            if self.json:
                print(json.dumps(each.as_json(), ensure_ascii=False))
                continue
            print("\n".join([*([""] if number else []), *each.lines(whole=bool(self.name))]))
        if not self.json and self.name is None:
            print("\noncue eval list NAME adds what its variants mean, and published rows")
        return 0
