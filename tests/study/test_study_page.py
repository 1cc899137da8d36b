"""The page of a study: its numbers are those of the results, texts stay text, and what is missing
is said."""

from __future__ import annotations

import copy
import functools
import json
import re
import statistics
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from oncue.study.charts import Curves, curve_chart, smoothed
from oncue.study.stream_findings import STREAMS
from oncue.study.study_page import study_page
from oncue.study.tables import decimal

NASTY = '</script><script>alert(1)</script><!-- <b onclick="x">\'&amp; {{slot}}'


@functools.cache
def _page(written: str) -> str:
    return study_page(json.loads(written), STREAMS)


def page_of(results: dict[str, Any]) -> str:
    """The page of results as they are in `results.json`, made once for the same ones."""
    return _page(json.dumps(results))


DECIMALS = {
    "pauc": 1,
    "duplicates": 1,
    "num_following": 0,
    "num_replies": 2,
    "first_reply_delay_s": 2,
    "false_replies_per_quiet_min": 2,
    "hit_turns": 1,
}
VOID = {"meta", "link", "br", "img", "input"}


class Parsed(HTMLParser):
    """The tags of a page with their attributes, its text, and the cells of its tables, row by
    row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += f" {data}"

    def number_tables(self) -> list[list[list[str]]]:
        return [table for table in self.tables if table[0][0].strip() == "Arm"]


def measured(base: float, num_seeds: int = 3) -> dict[str, list[float | None]]:
    """Numbers that are all different, and different after rounding."""
    return {
        name: [base + 1.1 * i + 0.23 * s for s in range(num_seeds)]
        for i, name in enumerate(DECIMALS)
    }


def arm(base: float, num_seeds: int = 3, **views: dict[str, Any]) -> dict[str, Any]:
    seeds = list(range(num_seeds))
    return {
        "about": f"about {base:g}",
        "start": "",
        "paper": "",
        "seeds": seeds,
        **measured(base, num_seeds),
        **views,
    }


def curve(seed: int) -> dict[str, Any]:
    steps = list(range(1, 41))
    names = ("reward", "reward_pauc", "replies_per_episode", "repeated_share", "silence_share")
    return {
        "seed": seed,
        "step": steps,
        **{name: [0.1 * seed + step / 40 for step in steps] for name in names},
        "first_reply_delay_s": [None if step % 3 == 0 else 2 - step / 40 for step in steps],
    }


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "sft": arm(
            31, footage=measured(11), **{"shapes-2s": measured(21), "shapes-sampled": measured(26)}
        ),
        "rl": arm(51, footage=measured(41), **{"shapes-2s": measured(46)}),
        "no_repetition": arm(61),
        "study": {
            "name": "mini",
            "title": "A study",
            "about": "What it is.",
            "oncue": "0.1.0",
            "complete": True,
            "missing": [],
            "references": {
                "shapes": {
                    "silence_pauc": 25.0,
                    "talk_pauc": 14.2,
                    "oracle_pauc": 93.7,
                    "oracle_delay_s": 0.44,
                    "n_clips": 200,
                }
            },
            "curves": {"rl": [curve(0), curve(1)], "no_repetition": [curve(0)]},
            "claims": [
                {
                    "claim": f"claim {v}",
                    "source": "Table 2",
                    "paper": "1 to 2",
                    "measured": "",
                    "verdict": v,
                    "why": "so",
                }
                for v in ("seen", "not seen", "reversed", "not measured")
            ],
            "targets": [
                {"target": f"target {met}", "asked": "more", "measured": "", "met": met}
                for met in (True, False, None)
            ],
            "settings": {"rl": {"reward": {"omega": 0.5}, "stages": [{"steps": 7}], "kl": None}},
        },
    }


def expected_numbers(results: dict[str, Any]) -> set[str]:
    """All that may stand in the tables of numbers: seeds, means, half widths of intervals, and
    references."""
    found = {"25.0", "14.2", "93.7", "0.44"}
    for one in (arm for name, arm in results.items() if name != "study"):
        for view in (one, *(value for value in one.values() if isinstance(value, dict))):
            for name, decimals in DECIMALS.items():
                values = [value for value in view.get(name, []) if value is not None]
                found |= {f"{value:.{decimals}f}" for value in values}
                if values:
                    found.add(f"{statistics.fmean(values):.{decimals}f}")
                if len(values) == 3:
                    found.add(f"{4.303 * statistics.stdev(values) / 3**0.5:.{decimals}f}")
    return found


def shown_numbers(page: str) -> set[str]:
    cells = [
        cell for table in Parsed(page).number_tables() for row in table[1:] for cell in row[1:]
    ]
    return set(re.findall(r"\d+(?:\.\d+)?", " ".join(cells)))


def test_the_numbers_of_the_tables_are_those_of_the_results(results: dict[str, Any]) -> None:
    assert shown_numbers(page_of(results)) == expected_numbers(results)


def test_a_changed_number_is_another_page(results: dict[str, Any]) -> None:
    before = page_of(results)
    results["rl"]["pauc"][1] = 77.7
    after = page_of(results)
    assert "77.7" in shown_numbers(after)
    assert shown_numbers(before) != expected_numbers(results)


def test_each_row_holds_the_numbers_of_its_arm(results: dict[str, Any]) -> None:
    first = Parsed(page_of(results)).number_tables()[0]
    assert [cell.split()[0] for cell in (row[0] for row in first[1:])] == [
        "sft",
        "rl",
        "always",
        "talks",
        "oracle",
    ]
    assert first[2][1].split()[0] == f"{statistics.fmean(results['rl']['pauc']):.1f}"
    assert first[5][1].split() == ["93.7"]


def test_what_was_not_measured_is_a_dash(results: dict[str, Any]) -> None:
    results["sft"]["first_reply_delay_s"] = [None, float("nan"), None]
    page = page_of(results)
    row = Parsed(page).number_tables()[0][1]
    assert row[5].split() == ["-", "-", "·", "-", "·", "-"]
    assert not re.search(r"\b(None|nan|inf)\b", Parsed(page).text)


def test_one_seed_has_no_interval(results: dict[str, Any]) -> None:
    three = page_of(results)
    one = page_of({"sft": arm(31, 1), "rl": arm(51, 1), "study": results["study"]})
    for page, has_interval in ((three, True), (one, False)):
        cells = " ".join(
            cell for table in Parsed(page).number_tables() for row in table for cell in row
        )
        assert ("±" in cells) is has_interval
        assert ('class="interval"' in page) is has_interval
    assert {"31.0", "51.0"} <= shown_numbers(one)


def test_views_that_are_missing_leave_nothing(results: dict[str, Any]) -> None:
    headings = ("footage", "Table 7", "Greedy against sampled", "Table 6")
    assert all(heading in page_of(results) for heading in headings)
    bare = Parsed(page_of({"sft": arm(31), "rl": arm(51), "study": results["study"]}))
    assert not [heading for heading in headings if heading in bare.text]
    assert len(bare.number_tables()) == 1


def test_a_study_that_has_just_begun_has_a_page(results: dict[str, Any]) -> None:
    study = results["study"] | {"complete": False, "missing": ["sft/0"]}
    study |= {"references": {}, "curves": {}, "settings": {}}
    page = Parsed(page_of({"sft": arm(31, 0), "rl": arm(51, 0), "study": study}))
    assert not page.number_tables()
    assert "svg" not in [tag for tag, _ in page.tags]
    assert all(len(table) > 1 and all(any(row) for row in table) for table in page.tables)
    assert "no seed is done" in page.text


def test_a_study_that_is_not_complete_says_so_first(results: dict[str, Any]) -> None:
    assert "not complete" not in page_of(results)
    results["study"] |= {"complete": False, "missing": ["rl/2", "no_repetition/1"]}
    text = Parsed(page_of(results)).text
    assert (
        text.index("not complete")
        < text.index("rl/2, no_repetition/1")
        < text.index("Claims of the paper")
    )


def texts(value: object) -> Iterator[tuple[Any, Any]]:
    """Every place of the results that holds a free text."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            if isinstance(inner, str) and key != "verdict":
                yield value, key
            yield from texts(inner)


def test_texts_stay_text(results: dict[str, Any]) -> None:
    plain = [tag for tag, _ in Parsed(page_of(results)).tags]
    nasty = copy.deepcopy(results)
    places = list(texts(nasty))
    for holder, key in places:
        holder[key] = NASTY
    nasty["study"]["settings"] = {NASTY: {NASTY: [NASTY, 1]}}
    nasty["study"]["curves"][NASTY] = [curve(0)]
    nasty[NASTY] = arm(71, **{NASTY: measured(81)})
    page = page_of(nasty)
    parsed = Parsed(page)
    assert len(places) > 20
    assert {tag for tag, _ in parsed.tags} <= {*plain, "small"}
    assert "<script" not in page
    assert not [
        name for _, attributes in parsed.tags for name in attributes if name.startswith("on")
    ]
    assert parsed.text.count(NASTY) >= len(places) - len(
        results
    )  # where an arm starts from is prefixed


def test_it_loads_nothing(results: dict[str, Any]) -> None:
    page = page_of(results)
    for _, attributes in Parsed(page).tags:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "results.json"))
    assert not re.search(r"https?://|url\(|@import", page)


def test_verdicts_and_targets_are_words(results: dict[str, Any]) -> None:
    tables = Parsed(page_of(results)).tables
    assert [row[4].split(maxsplit=1)[1] for row in tables[0][1:]] == [
        "seen",
        "not seen",
        "reversed",
        "not measured",
    ]
    assert [row[3].split(maxsplit=1)[1] for row in tables[1][1:]] == [
        "met",
        "not met",
        "not measured",
    ]


def test_every_arm_and_view_has_a_place(results: dict[str, Any]) -> None:
    results["token"] = arm(71, night=measured(81))
    page = page_of(results)
    assert shown_numbers(page) == expected_numbers(results)
    assert "of night" in page


def test_charts_tell_in_words_what_they_draw(results: dict[str, Any]) -> None:
    charts = [attributes for tag, attributes in Parsed(page_of(results)).tags if tag == "svg"]
    charts = [attributes for attributes in charts if "aria-hidden" not in attributes]
    assert len(charts) == 7 + 6
    assert all(attributes["role"] == "img" for attributes in charts)
    assert all("rl " in attributes["aria-label"] for attributes in charts)
    mean = statistics.fmean(results["rl"]["pauc"])
    assert f"rl {mean:.1f} ±" in charts[0]["aria-label"]


def test_a_chart_has_a_thin_line_per_seed_and_a_thick_one_per_arm() -> None:
    lines = [smoothed([1, 2, 3], [value] * 3) for value in (1.0, 3.0)]
    drawn = curve_chart(
        "Reward", 2, [Curves("rl", 1, [0, 1], lines), Curves("other", 2, [0], lines[:1])]
    )
    assert (drawn.count('class="seed'), drawn.count('class="mean')) == (3, 2)
    assert "rl from 2.00 to 2.00; other from 1.00 to 1.00" in drawn
    assert curve_chart("Reward", 2, [Curves("rl", 1, [0], [{}])]) == ""


def test_the_mean_of_seeds_ends_with_the_shortest() -> None:
    drawn = curve_chart(
        "Reward", 1, [Curves("rl", 1, [0, 1], [{1: 0.0, 2: 0.0}, {1: 2.0, 2: 2.0, 3: 9.0}])]
    )
    assert "rl from 1.0 to 1.0" in drawn


def test_running_means() -> None:
    steps = list(range(1, 31))
    assert smoothed(steps, [2.0] * 30) == dict.fromkeys(steps, 2.0)
    rising = smoothed(steps, [float(step) for step in steps])
    assert (rising[1], rising[3], rising[30]) == (1.0, 2.0, 25.5)
    gaps = smoothed(steps, [None] * 5 + [1.0] + [None] * 24)
    assert gaps == dict.fromkeys(range(6, 16), 1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.04, "0.0"), (-1.26, "\u22121.3"), (None, "-"), (0.05, "0.1"), (12.0, "12.0")],
)
def test_numbers_as_text(value: float | None, text: str) -> None:
    assert decimal(value, 1) == text
