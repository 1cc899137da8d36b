"""The tables of a study: what each arm measured, as means over seeds with their intervals and the
single seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
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


MEASURES = (
    Measure(
        "pauc",
        "PAUC, %",
        1,
        "how well replies cover what was due, and how early: the area under the quality over the "
        "span of a gold turn, "
        "at omega 0.5",
        (0.0, 100.0),
    ),
    Measure(
        "duplicates", "Duplicates, %", 1, "replies that only say again what was said", (0.0, 100.0)
    ),
    Measure(
        "num_following",
        "of following replies",
        0,
        "replies after another one in the same span, of which duplicates are a share: of a few it "
        "says little",
    ),
    Measure("num_replies", "Replies per clip", 2, "all replies, due or not"),
    Measure(
        "first_reply_delay_s",
        "First reply after, s",
        2,
        "from when the event can be seen to the first reply in its span, over gold turns that have "
        "one",
        (-math.inf, math.inf),
    ),
    Measure(
        "false_replies_per_quiet_min",
        "False replies per quiet minute",
        2,
        "replies per minute in which none is due",
    ),
    Measure(
        "hit_turns", "Gold turns hit, %", 1, "gold turns with a reply in their span", (0.0, 100.0)
    ),
)


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


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    is_number = (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )
    return float(value) if is_number else None  # type: ignore[arg-type]


def numbers_of(measured: Mapping[str, Any], num_seeds: int) -> dict[str, list[float | None]]:
    """The measures of an arm or of one of its views, `num_seeds` values each; those that are not
    there are None."""
    found = {}
    for measure in MEASURES:
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


def arm_table(caption: str, rows: Sequence[TableRow], references: Sequence[TableRow] = ()) -> str:
    """A table of arms, those without a number left out; empty where no arm has one. `references`
    stand below."""
    rows = [row for row in rows if row.is_known]
    if not rows:
        return ""
    rows = [*rows, *references]
    has_paper = any(row.paper for row in rows)
    measures = [
        m
        for m in MEASURES
        if any(v is not None for row in rows for v in row.values.get(m.name, ()))
    ]
    heads = "".join(f'<th scope="col">{escape(m.heading)}</th>' for m in measures)
    heads += '<th scope="col" class="words">In the paper</th>' if has_paper else ""
    body = "".join(_row(row, measures, has_paper) for row in rows)
    return scrolled(
        f"<table><caption><span>{escape(caption)}</span></caption>"
        f'<thead><tr><th scope="col">Arm</th>{heads}</tr></thead><tbody>{body}</tbody></table>',
        caption,
    )


def words_table(name: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts, already escaped, that becomes a list of cards where there is no room. Empty
    without rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-head="{head}"><div>{cell}</div></td>'
            for head, cell in zip(heads, row, strict=True)
            if cell
        )
        + "</tr>"
        for row in rows
    )
    return scrolled(
        f'<table class="cards"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>', name
    )


def scrolled(table: str, name: str) -> str:
    """A table in a box that scrolls sideways, also with the keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">{table}</div>'
    )


def _row(row: TableRow, measures: Sequence[Measure], has_paper: bool) -> str:
    dot = "" if row.hue is None else f'<span class="dot hue{row.hue}"></span>'
    about = f'<small class="about">{escape(row.about)}</small>' if row.about else ""
    about += f"<small>{escape(row.note)}</small>" if row.note else ""
    cells = "".join(_cell(row, measure) for measure in measures)
    cells += f'<td class="words">{escape(row.paper or NULL)}</td>' if has_paper else ""
    kind = ' class="reference"' if row.hue is None else ""
    return (
        f'<tr{kind}><th scope="row"><span '
        f'class="arm">{dot}{escape(row.name)}</span>{about}</th>{cells}</tr>'
    )


def _cell(row: TableRow, measure: Measure) -> str:
    """The mean with its interval; the seeds in small print, and named where the pointer rests."""
    values = row.values.get(measure.name, ())
    text = escape(mean_text(mean_of(values), measure.decimals))
    if not row.seeds:
        return f"<td>{text}</td>"
    shown = [decimal(value, measure.decimals) for value in values]
    named = ", ".join(f"seed {seed}: {value}" for seed, value in zip(row.seeds, shown, strict=True))
    small = f"<small>{' · '.join(shown)}</small>" if len(shown) > 1 else ""
    return f'<td title="{escape(named)}">{text}{small}</td>'
