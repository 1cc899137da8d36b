"""`oncue data stats`: figures of rows of proactive dialogues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.curating import check_out, print_summary
from oncue.commands.progress import Progress
from oncue.commands.turn_flags import TurnFlags
from oncue.errors import ConfigError
from oncue.files import write_text

if TYPE_CHECKING:
    from oncue.data.quality.statistics import RowStats


@dataclass(frozen=True)
class DataStats:
    """Figures of rows of proactive dialogues: a table like Table 1 of the MMDuet2 paper, lengths of
    spans and replies, silence, duplicates, first words of questions, and cost.

    Example: oncue data stats rows.jsonl --out stats.html
    """

    rows: tyro.conf.Positional[tuple[Path, ...]]
    """JSON-lines files of proactive dialogues."""

    out: Path | None = None
    """File for a page with the figures and charts. By default none."""

    rejected: tuple[Path, ...] = ()
    """Files of what a build has rejected (rejected.jsonl), to count the reasons."""

    turns: tyro.conf.OmitArgPrefixes[TurnFlags] = field(default_factory=TurnFlags)

    json: bool = False
    """The figures as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, count, print. Returns the exit code."""
        from oncue.data.proactive_rows import read_proactive_rows
        from oncue.data.quality.checking import num_rows
        from oncue.data.quality.rejected import read_rejections
        from oncue.data.quality.statistics import RowStats

        if not self.rows:
            raise ConfigError("no rows to count; give files of proactive dialogues")
        if self.out is not None:
            check_out(self.out, (*self.rows, *self.rejected))
        stats = RowStats(self.turns.grid())
        with Progress("rows", num_rows(self.rows)) as progress:
            for path in self.rows:
                for _, row in read_proactive_rows(path):
                    stats.add(row)
                    progress.step()
        for path in self.rejected:
            for one in read_rejections(path):
                stats.add_rejected(one.step, one.kind, one.reason)
        if self.out is not None:
            from oncue.data.quality.stats_page import stats_page

            write_text(self.out, stats_page(stats, f"Figures of {self.rows[0].name}"))
        self._report(stats)
        stats.close()
        return 0

    def _report(self, stats: RowStats) -> None:
        figures = stats.plain()
        if self.json:
            print_summary({**figures, "out": str(self.out) if self.out is not None else None})
            return
        _print_tables(figures, stats)
        if self.out is not None:
            print(f"wrote {self.out}")


def _print_tables(figures: dict[str, Any], stats: RowStats) -> None:
    from oncue.data.quality.stats_page import quantile_rows

    kinds = [*figures["kinds"].items(), ("all", figures["total"])]
    _print(
        ("type", "videos", "dialogues", "length, s", "questions", "answer turns", "silent turns"),
        [
            (
                name,
                f"{kind['num_videos']:,}",
                f"{kind['num_dialogues']:,}",
                _figure(kind["mean_length_s"]),
                _figure(kind["mean_questions"]),
                _figure(kind["mean_answer_turns"]),
                _percent(kind["silence_share"]),
            )
            for name, kind in kinds
        ],
    )
    for name, kind in figures["kinds"].items():
        print(f"source of {name}: {', '.join(kind['sources'])}")
    keys = ("p0", "p10", "p25", "p50", "p75", "p90", "p100")
    _print(
        ("of", "mean", "least", "10 %", "25 %", "median", "75 %", "90 %", "most"),
        [
            (name, _figure(of["mean"]), *(_figure(of[key]) for key in keys))
            for name, of in quantile_rows(stats)
        ],
    )
    _print_lines(figures, stats)


def _print_lines(figures: dict[str, Any], stats: RowStats) -> None:
    """What is in no table."""
    from oncue.data.quality.stats_page import top_words

    print(f"answers {figures['num_answers']:,}: {_percent(figures['immediate_share'])} immediate")
    print(
        f"duplicates of an answer of the dialogue: {_percent(figures['exact_duplicate_share'])} "
        f"exact, {_percent(figures['near_duplicate_share'])} but for case, punctuation, articles"
    )
    print("dialogues: " + ", ".join(f"{n:,} {name}" for name, n in figures["dialogues"].items()))
    print("first words: " + ", ".join(f"{word} {number:,}" for word, number in top_words(stats)))
    for cost in figures["costs"]:
        print(
            f"cost of {cost['step']} ({cost['model']}, {cost['prompt_version']}): "
            f"{cost['num_requests']:,} requests, {cost['tokens_in']:,} tokens in, "
            f"{cost['tokens_out']:,} out, {cost['cost']:.2f}"
        )
    for one in figures["rejected"]:
        print(f"rejected in {one['step']}: {one['num']:,} {one['kind']}, {one['first_reason']}")


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells in (head, *rows):
        first, *others = zip(cells, widths, strict=True)
        line = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print("  ".join(line))
    print()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
