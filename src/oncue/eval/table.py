"""Scores as tables and as JSON. Shares become percent here and nowhere else; N, judge and omega
always stand by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncue.eval.timing import TimingCount, mean_f1, pooled
from oncue.scoring.metrics import ProactiveResult

if TYPE_CHECKING:
    from rich.table import Table

MAX_UNSCORED_SHARE = 0.05  # above this no PAUC is shown: too many replies have no mark

Number = float | int | str | None


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of finished strings. The first column is left-aligned, the others right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def plain(self) -> str:
        """For logs and files: columns padded with spaces."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(w) if i else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in (self.header, *self.rows)
        ]
        return "\n".join(line.rstrip() for line in [self.title, *lines])

    def rich(self) -> Table:
        """For terminals."""
        from rich.table import Table

        table = Table(title=self.title)
        for i, name in enumerate(self.header):
            table.add_column(name, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def proactive_json(
    result: ProactiveResult, max_unscored_share: float = MAX_UNSCORED_SHARE
) -> dict[str, Number]:
    """The numbers of one result, ready for `json.dumps`: percent with two decimals, None where
    undefined.

    PAUC is None, too, where more than `max_unscored_share` of the marks are missing.
    """
    marked = result.unscored_share <= max_unscored_share
    duplicates = result.duplicates
    return {
        "n_samples": len(result.dialogues),
        "n_gold_turns": len(result.turns),
        "judge": result.judge,
        "max_score": result.max_score,
        **{
            f"pauc_omega_{omega:g}": percent(result.pauc(omega)) if marked else None
            for omega in result.omegas
        },
        "duplicates": percent(duplicates.share),
        "duplicate_scope": result.duplicate_scope,
        "n_duplicates": duplicates.num_duplicate,
        "n_duplicates_decided": duplicates.num_decided,
        "n_duplicates_unscored": duplicates.num_unscored,
        "hit_turns": percent(result.num_hit_turns / len(result.turns) if result.turns else None),
        "first_reply_delay_s": rounded(result.first_reply_delay_s, 3),
        "false_replies_per_min": rounded(result.false_replies_per_min, 3),
        "false_replies_per_quiet_min": rounded(result.false_replies_per_quiet_min, 3),
        "replies_per_min": rounded(result.replies_per_min, 3),
        "n_replies": result.num_replies,
        "n_false_replies": result.num_false_replies,
        "silence_rate": percent(result.silence_rate),
        "n_judged": result.num_judged,
        "n_unscored": result.num_unscored,
        "watched_s": rounded(result.watched_s, 3),
    }


def timing_json(counts: Sequence[TimingCount]) -> dict[str, Number]:
    """Timing of some clips, pooled and per clip, ready for `json.dumps`; ratios in percent."""
    total = pooled(counts)
    return {
        "n_clips": len(counts),
        "n_hit": total.num_hit,
        "n_false": total.num_false,
        "n_missed": total.num_missed,
        "precision": percent(total.precision),
        "recall": percent(total.recall),
        "f1": percent(total.f1),
        "mean_f1": percent(mean_f1(counts)),
    }


_PROACTIVE_COLUMNS = {
    "duplicates": "dup %",
    "counted": "of replies",
    "hit_turns": "hit %",
    "first_reply_delay_s": "delay s",
    "false_replies_per_min": "false/min",
    "replies_per_min": "replies/min",
    "silence_rate": "silent %",
    "n_unscored": "unscored",
}
_TIMING_COLUMNS = {
    "n_hit": "hit",
    "n_false": "false",
    "n_missed": "missed",
    "precision": "P %",
    "recall": "R %",
    "f1": "F1 %",
    "mean_f1": "mean F1 %",
}


def proactive_table(
    results: Mapping[str, ProactiveResult], title: str = "Proactive dialogues"
) -> TextTable:
    """One row per policy. All results must be of the same samples, judge and omegas."""
    settings = {
        (len(r.dialogues), len(r.turns), r.judge, r.max_score, r.omegas) for r in results.values()
    }
    if len(settings) != 1:
        raise ValueError(
            f"results of one table must share samples, judge and omegas, got {sorted(settings)}"
        )
    num_samples, num_turns, judge, max_score, omegas = settings.pop()
    columns = {
        f"pauc_omega_{omega:g}": f"PAUC w={omega:g}" for omega in omegas
    } | _PROACTIVE_COLUMNS
    return TextTable(
        f"{title} (N = {num_samples} samples, {num_turns} gold turns; judge {judge}, marks 0 to "
        f"{max_score})",
        ("policy", *columns.values()),
        tuple(
            _row(name, _counted(proactive_json(result)), columns)
            for name, result in results.items()
        ),
    )


def timing_table(
    results: Mapping[str, Sequence[TimingCount]], title: str = "Timing of replies"
) -> TextTable:
    """One row per policy: spans hit and missed, false replies, pooled F1 and the mean F1 of the
    clips."""
    numbers = {name: timing_json(counts) for name, counts in results.items()}
    sizes = sorted({str(row["n_clips"]) for row in numbers.values()})
    return TextTable(
        f"{title} (N = {', '.join(sizes)} clips)",
        ("policy", *_TIMING_COLUMNS.values()),
        tuple(_row(name, row, _TIMING_COLUMNS) for name, row in numbers.items()),
    )


def _counted(numbers: dict[str, Number]) -> dict[str, Number]:
    """With the replies that `duplicates` is a share of: of a few, it says little."""
    decided = numbers["n_duplicates_decided"]
    return numbers | {"counted": f"{numbers['n_duplicates']} of {decided}" if decided else None}


def _row(name: str, numbers: Mapping[str, Number], columns: Mapping[str, str]) -> tuple[str, ...]:
    return (name, *(_cell(numbers[key]) for key in columns))


def _cell(value: Number) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def percent(share: float | None) -> float | None:
    """A share in percent with two decimals."""
    return None if share is None else round(100 * share, 2)


def rounded(value: float | None, num_decimals: int) -> float | None:
    return None if value is None else round(value, num_decimals)
