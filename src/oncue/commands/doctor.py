"""`oncue doctor`: what works here, and how to fix what does not."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from oncue.doctor import FAILED, Finding, examine


@dataclass(frozen=True)
class Doctor:
    """Check that everything works here, and how to fix it. Exit code 1 where something failed."""

    model: str = "mini"
    """The model to load and to run for one turn: a folder, a hub id (owner/name) or mini."""

    device: str | None = None
    """cpu, cuda, ... By default a GPU where there is one."""

    json: bool = False
    """One JSON object per check on stdout."""

    def run(self) -> int:
        """Print each finding as it is made. Returns the exit code."""
        findings: list[Finding] = []
        for finding in examine(self.model, self.device):
            findings.append(finding)
            print(json.dumps(finding.as_json()) if self.json else finding.line(), flush=True)
        num_failed = sum(finding.status == FAILED for finding in findings)
        closing = (
            f"{num_failed} of {len(findings)} checks failed"
            if num_failed
            else "everything needed works"
        )
        print(closing, file=sys.stderr if self.json else sys.stdout)
        return 1 if num_failed else 0
