"""What a study makes of its measurements: numbers, claims, targets, curves, and the tables of its
page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.pages.canvas import NUM_HUES
from oncue.study.claims import Arms, Difference, Trend
from oncue.study.tables import ArmTable, Measure, TableRow, arm_table, number, numbers_of
from oncue.study.targets import Target

Marks = Mapping[str, Mapping[str, object]]  # by measure, by name


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with tables; left out where none of them has a number."""

    anchor: str
    heading: str
    tables: Sequence[ArmTable | None]


@dataclass(frozen=True, slots=True)
class Findings:
    """What the studies of one kind measure, claim, and show.

    `things`: what models are shown, `n_THINGS` of them in the references of a view. `main`: the
    view that the numbers of an arm itself are of. `measures`: the numbers of a view that the page
    has, of which `plotted` are drawn seed by seed. `logged`: what the results keep of every step;
    `curves`: heading and decimals of what is drawn of that. `targets(arms, references)`: what was
    asked for. `reference_rows(references of a view)`: rows of numbers beside the arms; `marks`: the
    same as lines in the drawn ones. `sections`: the tables of the page.
    """

    things: str
    main: str
    measures: tuple[Measure, ...]
    plotted: tuple[Measure, ...]
    logged: tuple[str, ...]
    curves: Mapping[str, tuple[str, int]]
    claims: tuple[Difference | Trend, ...]
    targets: Callable[[Arms, Mapping[str, Mapping[str, Any]]], list[Target]]
    reference_rows: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, object]]]
    marks: Callable[[Mapping[str, Any]], Marks]
    sections: Callable[[ArmRows], Sequence[Section]]


class ArmRows:
    """The arms of a study as rows of tables. Each is empty where nothing of it was measured."""

    def __init__(self, results: Mapping[str, Any], findings: Findings) -> None:
        self.findings = findings
        self.study: Mapping[str, Any] = results["study"]
        self.arms: dict[str, Mapping[str, Any]] = {
            name: arm for name, arm in results.items() if name != "study"
        }
        self.hues = {name: i % NUM_HUES for i, name in enumerate(self.arms)}

    def row(
        self, name: str, view: str = "", note: str = "", *, with_paper: bool = True
    ) -> TableRow:
        """An arm, seen from one side, by default the main one. `note` takes the place of what the
        arm is about."""
        arm = self.arms[name]
        measured = arm if view in ("", self.findings.main) else arm.get(view) or {}
        values = numbers_of(self.findings.measures, measured, len(arm["seeds"]))
        paper = arm.get("paper", "") if with_paper else ""
        about = "" if note else arm["about"]
        return TableRow(name, about, note, self.hues[name], arm["seeds"], values, paper)

    def references(self, view: str = "", note: str = "") -> list[TableRow]:
        """What is compared with the arms."""
        rows = []
        for name, given in self.findings.reference_rows(self.given(view)).items():
            values = {n: [number(value)] for n, value in given.items()}
            rows.append(TableRow(name, note=note, values=values))
        return [row for row in rows if row.is_known]

    def given(self, view: str = "") -> Mapping[str, Any]:
        """What the results have beside the arms in a view."""
        found: Mapping[str, Any] = self.study.get("references", {})
        return found.get(view or self.findings.main, {})

    def table(
        self,
        rows: Sequence[TableRow],
        references: Sequence[TableRow] = (),
        *,
        view: str = "",
        more: str = "",
        measures: Sequence[Measure] = (),
    ) -> ArmTable | None:
        """A table of these rows, with all measures or those given."""
        caption = self.caption(view or self.findings.main, more)
        return arm_table(caption, measures or self.findings.measures, rows, references)

    def caption(self, view: str, more: str = "") -> str:
        """What a table is about."""
        num, things = self.num_things(view), self.findings.things
        counted = f"{num} held-out {things}" if num else f"Held-out {things}"
        return f"{counted} of {view}{', ' + more if more else ''}"

    def num_things(self, view: str = "") -> int | None:
        """How many clips or films a view has."""
        return self.given(view).get(f"n_{self.findings.things}")

    def compared(
        self, base: str, names: Sequence[str], measures: Sequence[Measure] = ()
    ) -> ArmTable | None:
        """Arms below `base`; nothing where none of them has a number."""
        rows = [row for name in names if (row := self.row(name)).is_known]
        first = [self.row(base)] if base in self.arms else []
        return self.table([*first, *rows], measures=measures) if rows else None
