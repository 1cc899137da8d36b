"""The page of a study: its claims, tables, plots and curves in one HTML file that loads nothing and
runs nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from oncue.study.charts import SMOOTHED_STEPS, Curves, Dots, curve_chart, dot_plot, key_of, smoothed
from oncue.study.tables import (
    MEASURES,
    NULL,
    TableRow,
    arm_table,
    number,
    numbers_of,
    scrolled,
    words_table,
)

# Views with a section of their own
FOOTAGE, SELDOM, SAMPLED = ("footage", "shapes-2s", "shapes-sampled")
_MAIN = "shapes"  # the view that the numbers of an arm itself are of
_NUM_HUES = 8
_CURVES = {
    "replies_per_episode": ("Replies per episode", 2),
    "reward_pauc": ("PAUC term of the reward", 2),
    "repeated_share": ("Share of replies that repeat an earlier one", 2),
    "reward": ("Reward", 2),
    "first_reply_delay_s": ("Delay of the first reply in a span, s", 2),
    "silence_share": ("Share of silent turns", 2),
}
_VERDICTS = {"seen": "✓", "not seen": "○", "reversed": "⇄", "not measured": "–"}
_TARGETS = {
    True: ("seen", "✓ met"),
    False: ("reversed", "✗ not met"),
    None: ("not-measured", "– not measured"),
}


def study_page(results: Mapping[str, Any]) -> str:
    """The page as text, from what is in `results.json`. Texts are shown as text only; numbers that
    are not there as -.

    What has not been measured leaves no table; a study that is not complete says so first.
    """
    study, page = results["study"], _Page(results)
    sections = [s for s in page.sections() if s[2]]
    nav = "".join(
        f'<a href="#{name}">{name.replace("-", " ").capitalize()}</a>' for name, _, _ in sections
    )
    body = "".join(
        f'<section id="{name}"><h2>{escape(heading)}</h2>{inside}</section>'
        for name, heading, inside in sections
    )
    template = files("oncue").joinpath("assets/study.html").read_text(encoding="utf-8")
    before, between, after = template.split("{{slot}}")
    return f"{before}{escape(study['title'])}{between}{page.header()}<nav>{nav}</nav>{body}{after}"


class _Page:
    """The parts of the page. Each is empty where nothing of it was measured."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.study: Mapping[str, Any] = results["study"]
        self.arms: dict[str, Mapping[str, Any]] = {
            name: arm for name, arm in results.items() if name != "study"
        }
        self.hues = {name: i % _NUM_HUES for i, name in enumerate(self.arms)}

    def header(self) -> str:
        study, counts = (
            self.study,
            Counter(claim["verdict"] for claim in self.study.get("claims", ())),
        )
        seeds = sorted({seed for arm in self.arms.values() for seed in arm["seeds"]})
        num_clips = self.study.get("references", {}).get(_MAIN, {}).get("n_clips")
        facts = [f"study {study['name']}", f"oncue {study['oncue']}", f"{len(self.arms)} arms"]
        facts += [_seeds(seeds)] if seeds else []
        facts += [f"{num_clips} held-out clips of {_MAIN}"] if num_clips else []
        tally = ", ".join(
            f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict]
        )
        facts += [f"claims: {tally}"] if tally else []
        return (
            f"<header><h1>{escape(study['title'])}</h1><p>{escape(study['about'])}</p>"
            "<p>A small model on made-up clips: figures of the paper stand beside to show which "
            "way they point. Their "
            "sizes cannot be compared.</p>"
            f"{self._missing()}"
            f'<p class="facts">{escape("  ·  ".join(facts))}</p></header>'
        )

    def _missing(self) -> str:
        if self.study["complete"]:
            return ""
        missing = ", ".join(self.study.get("missing", ()))
        still = f" Still missing: {escape(missing)}." if missing else ""
        return (
            f'<p class="incomplete" role="status"><b>This study is not complete.</b>{still} '
            "Everything below is of the parts that are done.</p>"
        )

    def sections(self) -> Iterator[tuple[str, str, str]]:
        """(anchor, heading, inside) of all sections, the empty ones too."""
        ablations = [name for name in self.arms if name.startswith("no_")]
        seldom = [name for name in self.arms if "_2s" in name]
        further = [name for name in self.arms if name not in ("sft", "rl", *ablations, *seldom)]
        yield "claims", "Claims of the paper", _claims(self.study.get("claims", ()))
        yield "targets", "Targets of this project", _targets(self.study.get("targets", ()))
        yield "arms", "What is compared", self._arms()
        yield (
            "table-2",
            "Supervised fine-tuning against reinforcement learning (Table 2)",
            self._main(),
        )
        yield "table-6", "Each reward term removed (Table 6)", self._compared(ablations)
        yield (
            "table-7",
            "Frame intervals in training and inference (Table 7)",
            self._intervals(seldom),
        )
        yield "greedy-or-sampled", "Greedy against sampled", self._sampled()
        yield "further", "Further arms and views", self._compared(further) + self._other_views()
        yield "seeds", "All arms, seed by seed", self._plots()
        yield "curves", "Over the steps of training (Fig. 5)", self._curves()
        yield "settings", "Settings", _settings(self.study.get("settings", {}))

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

    def _arms(self) -> str:
        items = "".join(
            '<div><dt><span class="dot '
            f'hue{self.hues[name]}"></span>{escape(name)}</dt><dd>{escape(arm["about"])}'
            f"<small>{escape(_origin(arm))}</small></dd></div>"
            for name, arm in self.arms.items()
        )
        return f'<dl class="arms">{items}</dl>' if items else ""

    def _main(self) -> str:
        names = [name for name in ("sft", "rl") if name in self.arms]
        table = arm_table(
            self._caption(_MAIN), [self._row(name) for name in names], self._references(_MAIN)
        )
        unseen = [self._row(name, FOOTAGE, with_paper=False) for name in self.arms]
        footage = arm_table(self._caption(FOOTAGE), unseen, self._references(FOOTAGE))
        return table + footage + (_MEANINGS if table or footage else "")

    def _compared(self, names: Sequence[str]) -> str:
        """Arms below `rl`; nothing where none of them has a number."""
        rows = [row for name in names if (row := self._row(name)).is_known]
        base = [self._row("rl")] if "rl" in self.arms else []
        return arm_table(self._caption(_MAIN), [*base, *rows]) if rows else ""

    def _intervals(self, seldom: Sequence[str]) -> str:
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

    def _sampled(self) -> str:
        rows = []
        for name in self.arms:
            sampled = self._row(name, SAMPLED, "sampled as in rollouts", with_paper=False)
            if sampled.is_known:
                rows += [self._row(name, _MAIN, "greedy", with_paper=False), sampled]
        return arm_table(
            self._caption(_MAIN, "greedy, and sampled at the temperature of the rollouts"), rows
        )

    def _other_views(self) -> str:
        shown = (FOOTAGE, SELDOM, SAMPLED)
        names = dict.fromkeys(
            key
            for arm in self.arms.values()
            for key, v in arm.items()
            if isinstance(v, Mapping) and key not in shown
        )
        return "".join(
            arm_table(
                self._caption(view),
                [self._row(name, view, with_paper=False) for name in self.arms],
                self._references(view),
            )
            for view in names
        )

    def _caption(self, view: str, more: str = "") -> str:
        num_clips = self.study.get("references", {}).get(view, {}).get("n_clips")
        clips = f"{num_clips} held-out clips" if num_clips else "Held-out clips"
        return f"{clips} of {view}{', ' + more if more else ''}"

    def _plots(self) -> str:
        given = self.study.get("references", {}).get(_MAIN, {})
        marks: dict[str, dict[str, object]] = {
            "pauc": {"silent": given.get("silence_pauc"), "oracle": given.get("oracle_pauc")},
            "first_reply_delay_s": {"oracle": given.get("oracle_delay_s")},
        }
        plots = ""
        for measure in MEASURES:
            arms = [
                Dots(name, self.hues[name], arm["seeds"], self._row(name).values[measure.name])
                for name, arm in self.arms.items()
            ]
            marked = {
                n: v for n, x in marks.get(measure.name, {}).items() if (v := number(x)) is not None
            }
            plots += dot_plot(measure.heading, measure.decimals, arms, marked, measure.bounds)
        note = (
            "A dot is a seed, the upright bar the mean of the seeds, the pale band "
            "its 95\N{NO-BREAK SPACE}% interval."
        )
        return f'<p>{note}</p><div class="charts">{plots}</div>' if plots else ""

    def _curves(self) -> str:
        given = {name: runs for name, runs in self.study.get("curves", {}).items() if runs}
        names = [*(n for n in self.arms if n in given), *(n for n in given if n not in self.arms)]
        hues = {name: self.hues.get(name, i % _NUM_HUES) for i, name in enumerate(names)}
        charts = ""
        for key, (heading, decimals) in _CURVES.items():
            arms = [
                Curves(n, hues[n], [r["seed"] for r in given[n]], [_line(r, key) for r in given[n]])
                for n in names
            ]
            charts += curve_chart(heading, decimals, [arm for arm in arms if any(arm.lines)])
        legend = "".join(key_of(name, hues[name]) for name in names)
        note = (
            "Of the rollouts that train, which are sampled. A thin line is a seed, as the mean of "
            "the newest "
            f"{SMOOTHED_STEPS} steps; the thick line is the mean of the seeds."
        )
        return (
            f'<p>{note}</p><p class="legend">{legend}</p><div class="charts">{charts}</div>'
            if charts
            else ""
        )


def _line(run: Mapping[str, Any], key: str) -> Mapping[int, float]:
    return smoothed(run["step"], [number(value) for value in run.get(key) or []])


def _origin(arm: Mapping[str, Any]) -> str:
    seeds = _seeds(arm["seeds"])
    origin = f"starts from {arm['start']}" if arm.get("start") else ""
    return "  ·  ".join(filter(None, [origin, seeds or "no seed is done"]))


def _seeds(seeds: Sequence[int]) -> str:
    named = ", ".join(map(str, seeds))
    return f"seed{'s' if len(seeds) > 1 else ''} {named}" if named else ""


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    heads = ("Claim", "Source", "The paper", "Here", "Verdict", "Why")
    rows = [
        (
            escape(c["claim"]),
            escape(c["source"]),
            escape(c["paper"]),
            escape(c["measured"]) or NULL,
            _label(c["verdict"].replace(" ", "-"), f"{_VERDICTS[c['verdict']]} {c['verdict']}"),
            escape(c["why"]),
        )
        for c in claims
    ]
    return words_table("Claims of the paper, and what this study says of them", heads, rows)


def _targets(targets: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            escape(t["target"]),
            escape(t["asked"]),
            escape(t["measured"]) or NULL,
            _label(*_TARGETS[t["met"]]),
        )
        for t in targets
    ]
    return words_table(
        "Targets, and whether they were met", ("Target", "Asked", "Measured", "Met"), rows
    )


def _label(name: str, words: str) -> str:
    return f'<span class="label {name}">{escape(words)}</span>'


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> str:
    return "".join(
        f"<details><summary>{escape(name)}</summary>"
        + scrolled(
            '<table class="settings"><tbody>'
            + "".join(
                f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>'
                for k, v in _flat(values)
            )
            + "</tbody></table>",
            f"Settings of {name}",
        )
        + "</details>"
        for name, values in settings.items()
    )


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


_MEANINGS = (
    "<details><summary>What the columns mean</summary><dl>"
    + "".join(
        f"<div><dt>{escape(m.heading)}</dt><dd>{escape(m.meaning)}</dd></div>" for m in MEASURES
    )
    + "<div><dt>±</dt><dd>half the 95\N{NO-BREAK SPACE}% interval of the "
    "mean over seeds, by Student's t; with "
    "three seeds it is wide. The small numbers are the single seeds.</dd></div></dl></details>"
)
