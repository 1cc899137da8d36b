"""Two runs of one benchmark on the same items: every figure of both, and what changed most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, DataError
from oncue.eval.streams.behaviour import PREFIX, RATES, behaviour_figures
from oncue.eval.streams.benchmark import BySubset, StreamBenchmark
from oncue.eval.streams.item_lines import ItemLine, read_items
from oncue.eval.streams.paired import NUM_SWAPS, PairedFigure, is_exact, paired_figures
from oncue.eval.streams.result import cell, headline_values, options_of, protocol_text
from oncue.eval.streams.scoring import behaviour_sums, own_terms
from oncue.eval.streams.tally import NUM_RESAMPLES, Tally
from oncue.eval.table import TextTable, rounded

_NAMED = 3  # items named where two runs have others


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run as its folder holds it. `judge`: who decided, without the file where that was recorded.
    `scores` and `items` are the files that it was read from."""

    benchmark: StreamBenchmark[Any]
    model: str
    judge: str | None
    protocol: Mapping[str, Any]
    scores: Path
    items: Path

    def summary(self) -> dict[str, Any]:
        return {
            "scores": str(self.scores),
            "model": self.model,
            "protocol": dict(self.protocol),
        }


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """An item that the two runs did differently, by its worth (0 to 1) in each."""

    item_id: str
    first: float
    second: float

    @property
    def change(self) -> float:
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run against the first. `changed`: the items whose worth changed most, of
    `num_changed` that changed."""

    first: ScoredRun
    second: ScoredRun
    num_items: int
    num_videos: int
    headlines: tuple[PairedFigure, ...]
    behaviour: tuple[PairedFigure, ...]
    changed: tuple[ChangedItem, ...]
    num_changed: int

    def tables(self) -> Sequence[TextTable]:
        """The figures of the benchmark, those of behaviour, and the items that changed most."""
        benchmark = self.first.benchmark
        settings = [f"{name}={value}" for name, value in options_of(benchmark).items()]
        judge = [] if self.first.judge is None else [f"judge {self.first.judge}"]
        parts = [f"N = {self.num_items}, {self.num_videos} videos", *settings, *judge]
        title = f"{benchmark.card.title} ({', '.join(parts)})"
        tables = [_table(title, self.headlines), _table("Behaviour", self.behaviour)]
        if self.changed:
            title = f"Items that changed most ({len(self.changed)} of {self.num_changed})"
            rows = [
                (i.item_id, cell(i.first), cell(i.second), f"{i.change:+.2f}") for i in self.changed
            ]
            tables.append(TextTable(title, ("item", "A", "B", "B - A"), tuple(rows)))
        return tables

    def remarks(self) -> list[str]:
        """Who A and B are, how their protocols differ, and how to read the numbers."""
        runs = {"A": self.first, "B": self.second}
        lines = [
            f"{name}: {run.model}, {run.scores}; protocol: {protocol_text(run.protocol)}"
            for name, run in runs.items()
        ]
        if differs := self.protocol_differences():
            lines.append(f"the protocols differ in {', '.join(differs)}")
        return [
            *lines,
            f"95 % interval of B - A: percentiles of {NUM_RESAMPLES} resamplings of the videos, "
            "the same for both",
            f"p: two-sided, {self._swaps()} of A and B within videos; not corrected for the number "
            "of rows",
        ]

    def protocol_differences(self) -> list[str]:
        """The names of the settings in which the runs were made differently; that of the model
        is none."""
        first, second = self.first.protocol, self.second.protocol
        names = dict.fromkeys((*first, *second))
        return [n for n in names if n != "model" and first.get(n) != second.get(n)]

    def headline(self) -> dict[str, Any]:
        """For scripts: all of it."""
        return {
            "benchmark": self.first.benchmark.card.name,
            "options": options_of(self.first.benchmark),
            "judge": self.first.judge,
            "n_items": self.num_items,
            "n_videos": self.num_videos,
            "a": self.first.summary(),
            "b": self.second.summary(),
            "protocol_differences": self.protocol_differences(),
            "figures": {each.name: _json(each) for each in self.headlines},
            "behaviour": {each.name: _json(each) for each in self.behaviour},
            "n_changed": self.num_changed,
            "changed": [{"id": i.item_id, "a": i.first, "b": i.second} for i in self.changed],
        }

    def numbers(self) -> dict[str, Any]:
        """For a file: the same."""
        return self.headline()

    def texts(self) -> dict[str, str]:
        return {}

    def _swaps(self) -> str:
        if is_exact(self.num_videos):
            return f"all {2**self.num_videos} swaps"
        return f"{NUM_SWAPS} random swaps"


def compare_runs(first: ScoredRun, second: ScoredRun, num_shown: int = 20) -> Comparison:
    """How `second` differs from `first`; up to `num_shown` items that changed.

    Raises ConfigError for runs of another benchmark, variant or judge, DataError for runs of other
    items: nothing but the policy and its protocol may differ.
    """
    _check_alike(first, second)
    tallies = Tally(), Tally()
    ours: dict[str, ItemLine] = {}
    changed: list[ChangedItem] = []
    for line in _read(first.items, tallies[0]):
        ours[line.item_id] = replace(line, terms={})  # they are in the tally
    unseen = dict.fromkeys(ours)
    unknown: list[str] = []
    for line in _read(second.items, tallies[1]):
        if line.item_id not in ours:
            unknown.append(line.item_id)
            continue
        unseen.pop(line.item_id)
        own = ours[line.item_id]
        _check_same_item(own, line, first, second)
        if None not in (own.worth, line.worth) and own.worth != line.worth:
            changed.append(ChangedItem(line.item_id, own.worth or 0.0, line.worth or 0.0))
    _check_same_items(list(unseen), unknown, first, second)
    changed.sort(key=lambda item: (-abs(item.change), item.item_id))
    for run, tally in zip((first, second), tallies, strict=True):
        _check_terms(run, tally)
    found = paired_figures(*tallies, lambda sums: _values(first.benchmark, sums))
    return Comparison(
        first,
        second,
        len(ours),
        len(tallies[0].videos),
        tuple(each for each in found if not each.name.startswith(PREFIX)),
        tuple(
            replace(each, name=each.name.removeprefix(PREFIX))
            for each in found
            if each.name.startswith(PREFIX)
        ),
        tuple(changed[:num_shown]),
        len(changed),
    )


def _read(path: Path, tally: Tally) -> Iterator[ItemLine]:
    """The items of a run, each once, their terms added to `tally`."""
    seen: set[str] = set()
    for line in read_items(path):
        if line.item_id in seen:
            raise DataError(f"{path}: item {line.item_id!r} is there twice; score the run again")
        seen.add(line.item_id)
        tally.add(line.video, line.subset, line.terms)
        yield line


def _values(benchmark: StreamBenchmark[Any], sums: BySubset) -> dict[str, float | None]:
    """The headlines, and how the policy behaves."""
    figures = headline_values(benchmark.headlines, benchmark.figures(own_terms(sums)))
    behaviour = behaviour_figures(behaviour_sums(sums))
    return {**figures, **{PREFIX + name: behaviour[name] for name in RATES}}


def _check_terms(run: ScoredRun, tally: Tally) -> None:
    """Raises DataError for items without the terms that this version's figures need."""
    try:
        _values(run.benchmark, tally.sums())
    except KeyError as error:
        raise DataError(
            f"the items of {run.items} have no term {error.args[0]!r}, or there is no item; score "
            "the predictions again with this version"
        ) from error


def _check_alike(first: ScoredRun, second: ScoredRun) -> None:
    ours, others = _fixed(first), _fixed(second)
    for name in dict.fromkeys((*ours, *others)):
        if ours.get(name) != others.get(name):
            raise ConfigError(
                f"{first.scores} has {name} {ours.get(name)!r}, {second.scores} has "
                f"{others.get(name)!r}; only runs that are scored alike can be compared: score "
                "both predictions in the same way"
            )


def _fixed(run: ScoredRun) -> dict[str, Any]:
    """What must not differ."""
    name = {"benchmark": run.benchmark.card.name}
    return {**name, **options_of(run.benchmark), "judge": run.judge}


def _check_same_item(own: ItemLine, other: ItemLine, first: ScoredRun, second: ScoredRun) -> None:
    if (own.video, own.subset, own.due) != (other.video, other.subset, other.due):
        raise DataError(
            f"item {own.item_id!r} is not the same in {first.items} and in {second.items}: its "
            "video, subset or due spans differ; score both with the same annotations"
        )


def _check_same_items(
    missing: Sequence[str], unknown: Sequence[str], first: ScoredRun, second: ScoredRun
) -> None:
    for names, run, other in ((missing, first, second), (unknown, second, first)):
        if names:
            shown = ", ".join(map(repr, names[:_NAMED]))
            raise DataError(
                f"{run.items} has {len(names)} items that {other.items} has not ({shown}"
                f"{', ...' if len(names) > _NAMED else ''}); score both with the same annotations "
                "and the same videos left out"
            )


def _table(title: str, figures: Sequence[PairedFigure]) -> TextTable:
    header = ("figure", "A", "B", "B - A", "95 % interval", "p")
    return TextTable(title, header, tuple(map(_row, figures)))


def _row(each: PairedFigure) -> tuple[str, ...]:
    between = "-" if each.interval is None else "{:+.2f} to {:+.2f}".format(*each.interval)
    difference = "-" if each.difference is None else f"{each.difference:+.2f}"
    p_value = "-" if each.p_value is None else f"{each.p_value:.4f}"
    return (each.name, cell(each.first), cell(each.second), difference, between, p_value)


def _json(each: PairedFigure) -> dict[str, Any]:
    return {
        "a": each.first,
        "b": each.second,
        "difference": rounded(each.difference, 4),
        "interval": each.interval and [rounded(end, 4) for end in each.interval],
        "p": rounded(each.p_value, 6),
    }
