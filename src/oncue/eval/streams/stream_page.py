"""The page of a run: one HTML file that loads nothing, with its scores beside policies that see no
frame, how it behaves, and its items, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncue import __version__
from oncue.eval.streams.behaviour import delay_counts
from oncue.eval.streams.benchmark import Card, Published
from oncue.eval.streams.curve import CurvePoint
from oncue.eval.streams.result import StreamScores, cell, headline_values, plain_text
from oncue.eval.streams.scoring import Row, behaviour_sums
from oncue.eval.streams.timeline import timeline, verdict_hues
from oncue.pages.charts import DotRow, bar_chart, detection_chart, interval_chart
from oncue.pages.page import render

Intervals = Mapping[str, tuple[float, float] | None]  # by the names of headlines

_HUES = (1, 2, 3, 4, 5, 6, 7)  # of verdicts
_BEHAVIOUR = {
    "hit_spans": "due spans with a reply, %",
    "first_reply_delay_s": "first reply after, s",
    "false_per_quiet_hour": "false replies per quiet hour",
    "replies_per_min": "replies per minute",
    "silence_share": "silent turns, %",
    "n_replies": "replies",
    "n_false": "false replies",
}


@dataclass(frozen=True, slots=True)
class _Figure:
    """A cell of the table: the figure, and its interval in small letters."""

    text: str
    small: str = ""


@dataclass(frozen=True, slots=True)
class _Published:
    """Published rows of one protocol: the names of their figures, and (who, figures)."""

    protocol: str
    source: str
    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def to_page(scores: StreamScores, curve: Sequence[CurvePoint] = ()) -> str:
    """The page as text. It shows texts of models and annotations as plain text only. `curve`: how
    detection and false alarms change with the reply bias, where that was measured."""
    card, model = scores.benchmark.card, scores.model
    names = [headline.name for headline in scores.benchmark.headlines]
    rows = [(row, scores.intervals(row)) for row in (model, *scores.blind)]
    lines = [timeline(shown) for shown in model.shown]
    return render(
        "benchmark.html",
        title=f"{model.name} on {card.title}",
        card=card,
        facts=_facts(scores),
        headline=scores.main.name,
        own=cell(scores.main.of(model.figures)),
        below=_below(scores),
        names=names,
        rows=[(row.label, _cells(scores, row, intervals)) for row, intervals in rows],
        chart=_headline_chart(scores, rows),
        options=scores.options.items(),
        protocol=[(name, plain_text(value)) for name, value in scores.protocol.items()],
        judge=scores.judge,
        published=_published(names, card),
        remarks=scores.remarks(),
        behaviour_names=list(_BEHAVIOUR.values()),
        behaviour=[
            (row.label, [cell(row.behaviour[name]) for name in _BEHAVIOUR])
            for row in (model, *scores.blind)
        ],
        delays=_delay_chart(model),
        curve=_curve_chart(curve),
        model=model,
        lines=lines,
        subsets=sorted({line.subset for line in lines if line.subset}),
        hues=verdict_hues(lines, _HUES),
    )


def _published(headlines: Sequence[str], card: Card) -> list[_Published]:
    """The published rows, those of one protocol and source together; headlines come first."""
    groups: dict[tuple[str, str], list[Published]] = {}
    for row in card.published:
        groups.setdefault((row.protocol, row.source), []).append(row)
    tables = []
    for (protocol, source), rows in groups.items():
        given = {name: None for row in rows for name in row.figures}
        names = [name for name in headlines if name in given]
        names += [name for name in given if name not in headlines]
        cells = [(row.who, [cell(row.figures.get(name)) for name in names]) for row in rows]
        tables.append(_Published(protocol, source, names, cells))
    return tables


def _below(scores: StreamScores) -> str:
    """The best policy without frames, with its headline, where the model is not above it."""
    best = scores.best_blind()
    if best is None or not scores.is_below(best):
        return ""
    return f"{best.name}, {cell(scores.main.of(best.figures))}"


def _facts(scores: StreamScores) -> list[str]:
    model = scores.model
    return [
        f"benchmark {scores.benchmark.card.name}",
        f"N = {model.num_items} items",
        f"{len(model.tally.videos)} videos",
        f"oncue {__version__}",
    ]


def _cells(scores: StreamScores, row: Row, intervals: Intervals) -> list[_Figure]:
    values = headline_values(scores.benchmark.headlines, row.figures)
    return [
        _Figure(
            cell(value),
            "{:.2f} to {:.2f}".format(*between) if (between := intervals[name]) else "",
        )
        for name, value in values.items()
    ]


def _headline_chart(scores: StreamScores, rows: Sequence[tuple[Row, Intervals]]) -> str:
    """The main headline of all policies, with its interval; "" where the model has none, and
    where all are 0."""
    headline = scores.main
    drawn = []
    for number, (row, intervals) in enumerate(rows):
        value = headline.of(row.figures)
        if value is None:
            continue
        between = intervals[headline.name]
        drawn.append(DotRow(row.label, 0 if number else 1, {}, value, between, cell(value)))
    if headline.of(scores.model.figures) is None or not any(row.mean for row in drawn):
        return ""
    said = "; ".join(f"{row.name} {row.text}" for row in drawn)
    return interval_chart(f"{headline.name}. {said}", drawn, {})


def _delay_chart(model: Row) -> str:
    """How many first replies came how soon; "" where there is none."""
    counts = {each.name: each.num for each in delay_counts(behaviour_sums(model.tally.sums()))}
    if not any(counts.values()):
        return ""
    said = "; ".join(f"{name} s: {num}" for name, num in counts.items() if num)
    return bar_chart(f"First replies by their delay. {said}", counts, "seconds after it is due")


def _curve_chart(curve: Sequence[CurvePoint]) -> str:
    points = [point for point in curve if point.is_known]
    if not points:
        return ""
    drawn = [
        (
            point.false_per_quiet_hour or 0.0,
            point.hit_spans or 0.0,
            f"reply bias {point.bias:g}: {point.hit_spans:g} % of due spans, "
            f"{point.false_per_quiet_hour:g} false replies per quiet hour",
        )
        for point in points
    ]
    said = "; ".join(title for _, _, title in drawn)
    return detection_chart(f"Detection against false alarms. {said}", drawn)
