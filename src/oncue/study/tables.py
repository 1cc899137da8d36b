"""The tables of a study: what each arm measured, as means over seeds with their intervals and the
single seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncue.study.intervals import Mean, mean_of

NULL = "-"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of an arm: its name in the results, its heading, how many decimals it deserves, what
    it can be."""

    name: str
    heading: str
    decimals: int
    meaning: str
    bounds: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: `values` by name of the measure, one for each seed. `about` the arm is left out where
    there is no room, `note` is not. `paper`: what the paper reports in its place."""

    name: str
    about: str = ""
    note: str = ""
    hue: int | None = None
    seeds: Sequence[int] = ()
    values: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    paper: str = ""

    @property
    def is_known(self) -> bool:
        return any(value is not None for values in self.values.values() for value in values)

    def knows(self, measures: Sequence[Measure]) -> bool:
        """Whether it has a number of any of them."""
        names = (measure.name for measure in measures)
        return any(value is not None for name in names for value in self.values.get(name, ()))


@dataclass(frozen=True, slots=True)
class Cell:
    """The mean with its interval, the seeds in small print, and named where the pointer rests."""

    text: str
    small: str
    title: str


@dataclass(frozen=True, slots=True)
class ArmTable:
    """A table as it is shown: its rows with a cell for each of `heads`, the measures that any row
    has."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[TableRow, Sequence[Cell]]]
    has_paper: bool


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    is_number = (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )
    return float(value) if is_number else None  # type: ignore[arg-type]


def numbers_of(
    measures: Sequence[Measure], measured: Mapping[str, Any], num_seeds: int
) -> dict[str, list[float | None]]:
    """The measures of an arm or of one of its views, `num_seeds` values each; those that are not
    there are None."""
    found = {}
    for measure in measures:
        given = [number(value) for value in measured.get(measure.name) or []][:num_seeds]
        found[measure.name] = given + [None] * (num_seeds - len(given))
    return found


def decimal(value: float | None, decimals: int) -> str:
    """A number as text, with a real minus sign and no negative zero; `NULL` for none."""
    if value is None:
        return NULL
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def mean_text(mean: Mean | None, decimals: int) -> str:
    """`68.4 ± 2.1`; only the mean where one seed leaves no interval."""
    if mean is None:
        return NULL
    shown = decimal(mean.value, decimals)
    return shown if mean.half_width is None else f"{shown} ± {decimal(mean.half_width, decimals)}"


def arm_table(
    caption: str,
    measures: Sequence[Measure],
    rows: Sequence[TableRow],
    references: Sequence[TableRow] = (),
) -> ArmTable | None:
    """A table of arms, those without a number left out; None where no arm has one. `references`
    come last."""
    rows = [row for row in rows if row.knows(measures)]
    if not rows:
        return None
    rows = [*rows, *references]
    measures = [
        m
        for m in measures
        if any(v is not None for row in rows for v in row.values.get(m.name, ()))
    ]
    cells = [[_cell(row, measure) for measure in measures] for row in rows]
    heads = [measure.heading for measure in measures]
    has_paper = any(row.paper for row in rows)
    return ArmTable(caption, heads, list(zip(rows, cells, strict=True)), has_paper)


def _cell(row: TableRow, measure: Measure) -> Cell:
    values = row.values.get(measure.name, ())
    text = mean_text(mean_of(values), measure.decimals)
    shown = [decimal(value, measure.decimals) for value in values] if row.seeds else []
    named = [f"seed {seed}: {value}" for seed, value in zip(row.seeds, shown, strict=True)]
    return Cell(text, " · ".join(shown) if len(shown) > 1 else "", ", ".join(named))
