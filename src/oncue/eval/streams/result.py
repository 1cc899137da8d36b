"""The scores of predictions on a benchmark: as a table, as JSON, with what to make of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oncue.eval.streams.behaviour import delay_counts
from oncue.eval.streams.benchmark import (
    Figures,
    Headline,
    RemarkingBenchmark,
    StreamBenchmark,
)
from oncue.eval.streams.scoring import Row, behaviour_sums, own_terms
from oncue.eval.streams.tally import intervals
from oncue.eval.table import TextTable


@dataclass(frozen=True, slots=True)
class StreamScores:
    """The row of the model, and the rows of the policies that see no frame.

    `protocol`: how the predictions were made, as their file says. `judge`: who graded, None where
    the benchmark needs nobody. `num_left_out`: items left out because their video is missing.
    """

    benchmark: StreamBenchmark[Any]
    model: Row
    blind: tuple[Row, ...]
    protocol: Mapping[str, Any]
    judge: str | None = None
    num_left_out: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """The named variants of the benchmark that were scored."""
        return options_of(self.benchmark)

    def tables(self) -> Sequence[TextTable]:
        """One row per policy: the figures of the benchmark, then how it behaves."""
        card, headlines = self.benchmark.card, self.benchmark.headlines
        rows = [self.model, *self.blind]
        settings = [f"{name}={v}" for name, v in self.options.items() if v is not None]
        parts = [f"N = {self.model.num_items}", *settings, *self._judged()]
        scores = TextTable(
            f"{card.title} ({', '.join(parts)})",
            ("policy", *(headline.name for headline in headlines)),
            tuple((r.label, *(cell(h.of(r.figures)) for h in headlines)) for r in rows),
        )
        names = tuple(self.model.behaviour)
        return scores, TextTable(
            "Behaviour",
            ("policy", *names),
            tuple((r.label, *(cell(r.behaviour[name]) for name in names)) for r in rows),
        )

    def remarks(self) -> list[str]:
        """What the benchmark has to say, the interval of the headline, missing predictions, the
        protocol, and a headline that a policy without frames reaches."""
        headline = self.main
        lines = []
        if isinstance(self.benchmark, RemarkingBenchmark):
            lines += self.benchmark.remarks(self.model.figures)
        if (between := self.intervals()[headline.name]) is not None:
            low, high = between
            lines.append(
                f"{headline.name}: {cell(headline.of(self.model.figures))}, 95 % interval over "
                f"videos {low:.2f} to {high:.2f}"
            )
        if self.model.num_missing:
            lines.append(
                f"{self.model.num_missing} of {self.model.num_items} items have no prediction and "
                f"{self.benchmark.card.missing}"
            )
        if self.model.num_unknown:
            lines.append(
                f"{self.model.num_unknown} predictions are passed over: the annotations do not "
                "have their item"
            )
        if self.num_left_out:
            lines.append(f"{self.num_left_out} items are left out: their video is missing")
        lines.append(f"protocol: {protocol_text(self.protocol)}")
        if (best := self.best_blind()) is not None and self.is_below(best):
            lines.append(
                f"{headline.name} is not above that of a policy that sees no frame: "
                f"{best.name}, {cell(headline.of(best.figures))}"
            )
        return lines

    @property
    def main(self) -> Headline:
        """The first headline that the model has a figure for; where it has none, the first."""
        headlines = self.benchmark.headlines
        known = (h for h in headlines if h.of(self.model.figures) is not None)
        return next(known, headlines[0])

    def best_blind(self) -> Row | None:
        """The policy without frames with the best headline, of those that do not know the right
        texts."""
        headline = self.main
        known = [row for row in self.blind if headline.of(row.figures) is not None]
        rows = [row for row in known if not row.knows_texts]
        return max(rows, key=lambda row: headline.of(row.figures) or 0.0, default=None)

    def is_below(self, blind: Row) -> bool:
        """Whether the model's headline is not above that of `blind`."""
        headline = self.main
        own, other = headline.of(self.model.figures), headline.of(blind.figures)
        return own is not None and other is not None and own <= other

    def headline(self) -> dict[str, Any]:
        """For scripts: the figures, and all that they must be read with."""
        return {
            "benchmark": self.benchmark.card.name,
            "model": self.model.name,
            **self.model.figures,
            "behaviour": self.model.behaviour,
            "intervals": self.intervals(),
            "blind": {row.name: row.figures for row in self.blind},
            "n_items": self.model.num_items,
            "n_missing_predictions": self.model.num_missing,
            "n_unknown": self.model.num_unknown,
            "n_left_out": self.num_left_out,
            "options": self.options,
            "judge": self.judge,
            "protocol": dict(self.protocol),
        }

    def numbers(self) -> dict[str, Any]:
        """For a file: the same, and how long first replies took."""
        counts = delay_counts(behaviour_sums(self.model.tally.sums()))
        return {**self.headline(), "first_reply_delays": {each.name: each.num for each in counts}}

    def texts(self) -> dict[str, str]:
        return {}

    def intervals(self, row: Row | None = None) -> dict[str, tuple[float, float] | None]:
        """The 95 % interval of each headline of `row`, by default the model's, over videos."""
        return intervals(
            (row or self.model).tally,
            lambda sums: headline_values(
                self.benchmark.headlines, self.benchmark.figures(own_terms(sums))
            ),
        )

    def _judged(self) -> list[str]:
        return [] if self.judge is None else [f"judge {self.judge}"]


def headline_values(headlines: Sequence[Headline], figures: Figures) -> dict[str, float | None]:
    """The figures of the table by name."""
    return {headline.name: headline.of(figures) for headline in headlines}


def options_of(benchmark: StreamBenchmark[Any]) -> dict[str, Any]:
    """The named variants of a benchmark, as JSON has them."""
    options: dict[str, Any] = json.loads(json.dumps(asdict(benchmark)))  # type: ignore[call-overload]
    return options


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """How predictions were made, in a line."""
    words = ", ".join(f"{name} {plain_text(value)}" for name, value in protocol.items())
    return words or "unknown (the predictions do not say)"


def plain_text(value: Any) -> str:
    """A setting in words: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell(value: Any) -> str:
    """A figure in a table."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
