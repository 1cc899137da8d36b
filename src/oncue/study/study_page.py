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
from oncue.study.tables import MEASURES, ArmTable, TableRow, arm_table, number, numbers_of

# Views with a section of their own
FOOTAGE, SELDOM, SAMPLED = ("footage", "shapes-2s", "shapes-sampled")
_MAIN = "shapes"  # the view that the numbers of an arm itself are of
_CURVES = {
    "replies_per_episode": ("Replies per episode", 2),
    "reward_pauc": ("PAUC term of the reward", 2),
    "repeated_share": ("Share of replies that repeat an earlier one", 2),
    "reward": ("Reward", 2),
    "first_reply_delay_s": ("Delay of the first reply in a span, s", 2),
    "silence_share": ("Share of silent turns", 2),
}
_VERDICTS = {"seen": "✓", "not seen": "○", "reversed": "⇄", "not measured": "–"}


def study_page(results: Mapping[str, Any]) -> str:
    """The page as text, from what is in `results.json`. Texts are shown as text only; numbers that
    are not there as -.

    What has not been measured leaves no table; a study that is not complete says so first.
    """
    study, page = results["study"], _Page(results)
    return render(
        "study.html",
        **{name: study[name] for name in ("title", "about", "complete")},
        missing=study.get("missing", ()),
        facts=page.facts(),
        claims=study.get("claims", ()),
        verdicts=_VERDICTS,
        targets=study.get("targets", ()),
        **page.tables(),
        measures=MEASURES,
        plots=page.plots(),
        **page.curves(),
        smoothed_steps=SMOOTHED_STEPS,
        settings=[(name, list(_flat(given))) for name, given in study.get("settings", {}).items()],
    )


class _Page:
    """The parts of the page. Each is empty where nothing of it was measured."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.study: Mapping[str, Any] = results["study"]
        self.arms: dict[str, Mapping[str, Any]] = {
            name: arm for name, arm in results.items() if name != "study"
        }
        self.hues = {name: i % NUM_HUES for i, name in enumerate(self.arms)}

    def facts(self) -> list[str]:
        """What is said below the title."""
        study = self.study
        counts = Counter(claim["verdict"] for claim in study.get("claims", ()))
        seeds = sorted({seed for arm in self.arms.values() for seed in arm["seeds"]})
        num_clips = study.get("references", {}).get(_MAIN, {}).get("n_clips")
        tally = ", ".join(
            f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict]
        )
        facts = [f"study {study['name']}", f"oncue {study['oncue']}", f"{len(self.arms)} arms"]
        facts += [_seeds(seeds)] if seeds else []
        facts += [f"{num_clips} held-out clips of {_MAIN}"] if num_clips else []
        return facts + ([f"claims: {tally}"] if tally else [])

    def tables(self) -> dict[str, Any]:
        """The arms, and the tables by the name of their section."""
        ablations = [name for name in self.arms if name.startswith("no_")]
        seldom = [name for name in self.arms if "_2s" in name]
        further = [name for name in self.arms if name not in ("sft", "rl", *ablations, *seldom)]
        return {
            "arms": [
                {
                    "name": name,
                    "hue": self.hues[name],
                    "about": arm["about"],
                    "origin": _origin(arm),
                }
                for name, arm in self.arms.items()
            ],
            "main": self._main(),
            "ablations": self._compared(ablations),
            "intervals": self._intervals(seldom),
            "sampled": self._sampled(),
            "further": [self._compared(further), *self._other_views()],
        }

    def _row(
        self, name: str, view: str = _MAIN, note: str = "", *, with_paper: bool = True
    ) -> TableRow:
        """An arm, seen from one side. `note` takes the place of what the arm is about."""
        arm = self.arms[name]
        measured = arm if view == _MAIN else arm.get(view) or {}
        values = numbers_of(measured, len(arm["seeds"]))
        paper = arm.get("paper", "") if with_paper else ""
        about = "" if note else arm["about"]
        return TableRow(name, about, note, self.hues[name], arm["seeds"], values, paper)

    def _references(self, view: str, note: str = "") -> list[TableRow]:
        """What silence, talk at every turn, and the one who knows the gold would get."""
        given = self.study.get("references", {}).get(view, {})
        rows = []
        for name, short in (
            ("always silent", "silence"),
            ("talks at every turn", "talk"),
            ("oracle", "oracle"),
        ):
            delay_s = number(given.get(f"{short}_delay_s"))
            values = {
                "pauc": [number(given.get(f"{short}_pauc"))],
                "first_reply_delay_s": [delay_s],
            }
            rows.append(TableRow(name, note=note, values=values))
        return [row for row in rows if row.is_known]

    def _main(self) -> list[ArmTable]:
        names = [name for name in ("sft", "rl") if name in self.arms]
        seen = [self._row(name) for name in names]
        unseen = [self._row(name, FOOTAGE, with_paper=False) for name in self.arms]
        tables = [
            arm_table(self._caption(view), rows, self._references(view))
            for view, rows in ((_MAIN, seen), (FOOTAGE, unseen))
        ]
        return [table for table in tables if table]

    def _compared(self, names: Sequence[str]) -> ArmTable | None:
        """Arms below `rl`; nothing where none of them has a number."""
        rows = [row for name in names if (row := self._row(name)).is_known]
        base = [self._row("rl")] if "rl" in self.arms else []
        return arm_table(self._caption(_MAIN), [*base, *rows]) if rows else None

    def _intervals(self, seldom: Sequence[str]) -> ArmTable | None:
        """Every arm that was shown fewer frames, in training or in inference, from both sides."""
        rows = []
        for name in self.arms:
            less = self._row(name, SELDOM, "shown a frame every 2 s", with_paper=False)
            if less.is_known or name in seldom:
                rows += [self._row(name, _MAIN, "shown a frame every 1 s"), less]
        known = any(row.is_known for row in rows)
        references = self._references(SELDOM, "shown a frame every 2 s") if known else []
        return arm_table(
            self._caption(_MAIN, "by the interval of frames in inference"), rows, references
        )

    def _sampled(self) -> ArmTable | None:
        rows = []
        for name in self.arms:
            sampled = self._row(name, SAMPLED, "sampled as in rollouts", with_paper=False)
            if sampled.is_known:
                rows += [self._row(name, _MAIN, "greedy", with_paper=False), sampled]
        return arm_table(
            self._caption(_MAIN, "greedy, and sampled at the temperature of the rollouts"), rows
        )

    def _other_views(self) -> list[ArmTable | None]:
        shown = (FOOTAGE, SELDOM, SAMPLED)
        names = dict.fromkeys(
            key
            for arm in self.arms.values()
            for key, value in arm.items()
            if isinstance(value, Mapping) and key not in shown
        )
        return [
            arm_table(
                self._caption(view),
                [self._row(name, view, with_paper=False) for name in self.arms],
                self._references(view),
            )
            for view in names
        ]

    def _caption(self, view: str, more: str = "") -> str:
        num_clips = self.study.get("references", {}).get(view, {}).get("n_clips")
        clips = f"{num_clips} held-out clips" if num_clips else "Held-out clips"
        return f"{clips} of {view}{', ' + more if more else ''}"

    def plots(self) -> list[tuple[str, str]]:
        """(heading, chart) of each measure, arm by arm."""
        given = self.study.get("references", {}).get(_MAIN, {})
        marks: dict[str, dict[str, object]] = {
            "pauc": {"silent": given.get("silence_pauc"), "oracle": given.get("oracle_pauc")},
            "first_reply_delay_s": {"oracle": given.get("oracle_delay_s")},
        }
        plots = []
        for measure in MEASURES:
            arms = [
                Dots(name, self.hues[name], arm["seeds"], self._row(name).values[measure.name])
                for name, arm in self.arms.items()
            ]
            marked = {
                n: v for n, x in marks.get(measure.name, {}).items() if (v := number(x)) is not None
            }
            drawn = dot_plot(measure.heading, measure.decimals, arms, marked, measure.bounds)
            plots.append((measure.heading, drawn))
        return [(heading, drawn) for heading, drawn in plots if drawn]

    def curves(self) -> dict[str, Any]:
        """(heading, chart) of what was logged over steps, and (name, hue, dashes) of its arms."""
        given = {name: runs for name, runs in self.study.get("curves", {}).items() if runs}
        names = [*(n for n in self.arms if n in given), *(n for n in given if n not in self.arms)]
        hues = {name: self.hues.get(name, i % NUM_HUES) for i, name in enumerate(names)}
        charts = []
        for key, (heading, decimals) in _CURVES.items():
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
