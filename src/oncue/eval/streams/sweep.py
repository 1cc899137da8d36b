"""The scores of one model at several settings, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oncue.eval.streams.result import StreamScores
from oncue.eval.table import TextTable


@dataclass(frozen=True, slots=True)
class Sweep:
    """`scores`: at least one, of the same items and benchmark."""

    scores: tuple[StreamScores, ...]

    def tables(self) -> Sequence[TextTable]:
        """A row for each, and then those of the policies without frames."""
        of_each = [scores.tables() for scores in self.scores]
        return [
            TextTable(
                table.title, table.header, (*(t[k].rows[0] for t in of_each), *table.rows[1:])
            )
            for k, table in enumerate(of_each[0])
        ]

    def remarks(self) -> list[str]:
        """Those of each."""
        return [
            f"{scores.model.name}: {line}" for scores in self.scores for line in scores.remarks()
        ]

    def headline(self) -> dict[str, Any]:
        """For scripts and files: the same of each."""
        return {"sweep": [scores.headline() for scores in self.scores]}

    def numbers(self) -> dict[str, Any]:
        return self.headline()

    def texts(self) -> dict[str, str]:
        return {}
