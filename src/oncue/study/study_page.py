"""The page of a study: its claims, tables, plots and curves in one HTML file that loads nothing and
runs nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oncue.pages.canvas import NUM_HUES
from oncue.pages.charts import DASHES
from oncue.pages.page import render
from oncue.study.charts import SMOOTHED_STEPS, Curves, Dots, curve_chart, dot_plot, smoothed
from oncue.study.findings import ArmRows, Findings
from oncue.study.tables import number

_VERDICTS = {"seen": "✓", "not seen": "○", "reversed": "⇄", "not measured": "–"}


def study_page(results: Mapping[str, Any], findings: Findings) -> str:
    """The page as text, from what is in `results.json`. Texts are shown as text only; numbers that
    are not there as -.

    What has not been measured leaves no table; a study that is not complete says so first.
    """
    study, rows = results["study"], ArmRows(results, findings)
    return render(
        "study.html",
        **{name: study[name] for name in ("title", "about", "complete")},
        missing=study.get("missing", ()),
        things=findings.things,
        facts=_facts(rows),
        claims=study.get("claims", ()),
        verdicts=_VERDICTS,
        targets=study.get("targets", ()),
        arms=[
            {"name": name, "hue": rows.hues[name], "about": arm["about"], "origin": _origin(arm)}
            for name, arm in rows.arms.items()
        ],
        tables=findings.sections(rows),
        measures=findings.measures,
        plots=_plots(rows),
        **_curves(rows),
        smoothed_steps=SMOOTHED_STEPS,
        settings=[(name, list(_flat(given))) for name, given in study.get("settings", {}).items()],
    )


def _facts(rows: ArmRows) -> list[str]:
    """What is said below the title."""
    study, findings = rows.study, rows.findings
    counts = Counter(claim["verdict"] for claim in study.get("claims", ()))
    seeds = sorted({seed for arm in rows.arms.values() for seed in arm["seeds"]})
    num = rows.num_things()
    tally = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict])
    facts = [f"study {study['name']}", f"oncue {study['oncue']}", f"{len(rows.arms)} arms"]
    facts += [_seeds(seeds)] if seeds else []
    facts += [f"{num} held-out {findings.things} of {findings.main}"] if num else []
    return facts + ([f"claims: {tally}"] if tally else [])


def _plots(rows: ArmRows) -> list[tuple[str, str]]:
    """(heading, chart) of each measure, arm by arm."""
    marks = rows.findings.marks(rows.given())
    plots = []
    for measure in rows.findings.plotted:
        arms = [
            Dots(name, rows.hues[name], arm["seeds"], rows.row(name).values[measure.name])
            for name, arm in rows.arms.items()
        ]
        marked = {
            n: v for n, x in marks.get(measure.name, {}).items() if (v := number(x)) is not None
        }
        drawn = dot_plot(measure.heading, measure.decimals, arms, marked, measure.bounds)
        plots.append((measure.heading, drawn))
    return [(heading, drawn) for heading, drawn in plots if drawn]


def _curves(rows: ArmRows) -> dict[str, Any]:
    """(heading, chart) of what was logged over steps, and (name, hue, dashes) of its arms."""
    given = {name: runs for name, runs in rows.study.get("curves", {}).items() if runs}
    names = [*(n for n in rows.arms if n in given), *(n for n in given if n not in rows.arms)]
    hues = {name: rows.hues.get(name, i % NUM_HUES) for i, name in enumerate(names)}
    charts = []
    for key, (heading, decimals) in rows.findings.curves.items():
        arms = [
            Curves(n, hues[n], [r["seed"] for r in given[n]], [_line(r, key) for r in given[n]])
            for n in names
        ]
        drawn = curve_chart(heading, decimals, [arm for arm in arms if any(arm.lines)])
        charts += [(heading, drawn)] if drawn else []
    return {"curves": charts, "legend": [(n, hue, DASHES[hue]) for n, hue in hues.items()]}


def _line(run: Mapping[str, Any], key: str) -> Mapping[int, float]:
    return smoothed(run["step"], [number(value) for value in run.get(key) or []])


def _origin(arm: Mapping[str, Any]) -> str:
    seeds = _seeds(arm["seeds"])
    origin = f"starts from {arm['start']}" if arm.get("start") else ""
    return "  ·  ".join(filter(None, [origin, seeds or "no seed is done"]))


def _seeds(seeds: Sequence[int]) -> str:
    named = ", ".join(map(str, seeds))
    return f"seed{'s' if len(seeds) > 1 else ''} {named}" if named else ""


def _flat(values: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, value) of all that is nested in plain values."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list | tuple) and any(
        isinstance(value, Mapping | list | tuple) for value in values
    ):
        for i, value in enumerate(values):
            yield from _flat(value, f"{path}.{i}")
    else:
        is_text = isinstance(values, str) or (
            isinstance(values, float) and not math.isfinite(values)
        )
        yield path, str(values) if is_text else json.dumps(values, ensure_ascii=False)
