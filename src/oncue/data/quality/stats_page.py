"""The figures of rows as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from oncue import __version__
from oncue.data.quality.statistics import RowStats, Tally
from oncue.pages.charts import bar_chart
from oncue.pages.page import render

_NUM_BARS = 8
_SHORT = 9  # characters of a name below a bar
NUM_LISTED = 12  # first words


def stats_page(stats: RowStats, title: str) -> str:
    """The page as text; texts of rows are shown as plain text only."""
    figures = stats.plain()
    return render(
        "data_stats.html",
        title=title,
        version=__version__,
        kinds=[*figures["kinds"].items(), ("all", figures["total"])],
        figures=figures,
        quantiles=quantile_rows(stats),
        charts=_charts(stats),
        first_words=top_words(stats),
    )


def quantile_rows(stats: RowStats) -> list[tuple[str, dict[str, Any]]]:
    """The distributions, each with its name."""
    return [
        ("reply span, s", stats.span_lengths_s.plain()),
        ("answers per question", stats.answers_per_question.plain()),
        ("words of a reply", stats.reply_words.plain()),
        ("silent turns of a dialogue, share", stats.silence_shares.plain()),
    ]


def top_words(stats: RowStats) -> list[tuple[str, int]]:
    """The commonest first words of questions, and all others together."""
    common = stats.first_words.most_common(NUM_LISTED)
    others = stats.first_words.total() - sum(number for _, number in common)
    return [*common, *([("others", others)] if others else [])]


def _charts(stats: RowStats) -> list[tuple[str, str]]:
    spans = bins(stats.span_lengths_s, (2, 4, 8, 16, 32, 64))
    answers = bins(stats.answers_per_question, (1, 2, 3, 5, 8, 12))
    words = bins(stats.reply_words, (5, 10, 20, 30, 50, 100))
    silence = bins(stats.silence_shares, (0.2, 0.4, 0.6, 0.8, 0.9))
    drawn = [
        ("Lengths of reply spans", spans, "seconds"),
        ("Answers per question", answers, "answers"),
        ("Lengths of replies", words, "words"),
        ("Silent turns of a dialogue", silence, "share of its turns"),
    ]
    first = dict(stats.first_words.most_common(_NUM_BARS - 1))
    drawn.append(("First words of questions", _shortened(first), "the commonest"))
    return [
        (name, bar_chart(f"{name}. {_said(bars)}", bars, below))
        for name, bars, below in drawn
        if any(bars.values())
    ]


def bins(tally: Tally, edges: Sequence[float]) -> dict[str, int]:
    """How many numbers lie from each edge on and below the next, before the first, and from the
    last on. Names of whole numbers hold both ends ("3-4"), others that of the next bar ("2-4")."""
    less = 0 if tally.digits else 1
    starts = [0, *edges]
    names = [
        f"{low:g}" if low == high - less else f"{low:g}-{high - less:g}"
        for low, high in pairwise(starts)
    ]
    counts = dict.fromkeys([*names, f"{edges[-1]:g}+"], 0)
    for value, number in tally.counts.items():
        counts[list(counts)[sum(value >= edge for edge in edges)]] += number
    return counts


def _shortened(bars: Mapping[str, int]) -> dict[str, int]:
    short: dict[str, int] = {}
    for name, number in bars.items():
        cut = name if len(name) <= _SHORT else name[: _SHORT - 1] + "…"
        short[cut] = short.get(cut, 0) + number
    return short


def _said(bars: Mapping[str, int]) -> str:
    return "; ".join(f"{name}: {number}" for name, number in bars.items() if number)
