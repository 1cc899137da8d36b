"""Charts: what is drawn is what was given, in the colours of the page, the same each time."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import pytest

from oncue.pages.canvas import NUM_HUES
from oncue.pages.charts import (
    DASHES,
    DotRow,
    Line,
    bar_chart,
    detection_chart,
    interval_chart,
    line_chart,
)

NASTY = "</svg><script>alert(1)</script>$\\frac{1}{2}$ \"'&"
ROW = DotRow("rl", 1, {"seed 0: 2.0": 2.0, "seed 1: 6.0": 6.0}, 4.0, (1.0, 7.0), "4.0 ± 3.0")


def paths(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """The places of the lines of a kind, each stroke on its own."""
    groups = ElementTree.fromstring(svg).iterfind(f".//g[@class='{kind}']/path")
    strokes = [stroke for path in groups for stroke in path.attrib["d"].split("M")[1:]]
    numbers = [[float(n) for n in re.findall(r"-?[\d.]+", stroke)] for stroke in strokes]
    return [list(zip(n[::2], n[1::2], strict=True)) for n in numbers]


def dots(svg: str) -> dict[str, float]:
    """Where the dots are across, by their titles."""
    groups = ElementTree.fromstring(svg).iterfind(".//g[@class='point']")
    return {g.findtext("title") or "": float(g.find(".//use").attrib["x"]) for g in groups}  # type: ignore[union-attr]


def test_a_line_goes_where_its_values_are() -> None:
    ((a, b, c),) = paths(line_chart("Loss", [Line({10: 0.0, 20: 1.0, 30: 0.25})]), "mean")
    assert a[0] < b[0] < c[0]
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.2)
    assert (a[1] - c[1]) / (a[1] - b[1]) == pytest.approx(0.25, abs=0.01)


def test_a_wide_gap_is_a_break() -> None:
    points = {step: float(step % 3) for step in (1, 2, 3, 4, 5, 50, 51, 52)}
    assert [len(stroke) for stroke in paths(line_chart("Loss", [Line(points)]), "mean")] == [5, 3]
    del points[3]
    assert [len(stroke) for stroke in paths(line_chart("Loss", [Line(points)]), "mean")] == [4, 3]


@pytest.mark.parametrize("points", [{7: 3.0}, {1: 2.0, 2: 2.0}, {1: -1e-9, 2: 1e-9}, {1: 1e12}])
def test_odd_curves_are_drawn(points: dict[int, float]) -> None:
    svg = line_chart("Loss", [Line(points)])
    assert "nan" not in svg
    assert len(paths(svg, "mean")) == 1


def test_dots_and_interval_are_on_one_scale() -> None:
    svg = interval_chart("PAUC", [ROW], {"oracle 8": 8.0})
    (((low, _), (high, _)),) = paths(svg, "interval")
    at = dots(svg)
    px = (at["rl, seed 1: 6.0"] - at["rl, seed 0: 2.0"]) / 4
    assert px > 0
    assert (low, high) == pytest.approx(
        (at["rl, seed 0: 2.0"] - px, at["rl, seed 1: 6.0"] + px), abs=0.2
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_the_axis_of_dots_reaches_to_zero(sign: int) -> None:
    values = {"a": sign * 51.0, "b": sign * 59.0}
    at = dots(interval_chart("PAUC", [DotRow("rl", 1, values, sign * 55.0, None, "55")], {}))
    zero = at["rl, a"] - values["a"] * (at["rl, b"] - at["rl, a"]) / (values["b"] - values["a"])
    assert 11 < zero < 349


def test_bars_are_as_high_as_their_numbers() -> None:
    svg = bar_chart("Delays", {"0-1": 2, "1-2": 0, NASTY: 8}, "seconds")
    root = ElementTree.fromstring(svg)
    tops = {}
    for group in root.iterfind(".//g[@class='bar']"):
        path = group.find("path")
        assert path is not None
        ys = [float(y) for y in re.findall(r"-?[\d.]+", path.attrib["d"])[1::2]]
        tops[group.findtext("title")] = max(ys) - min(ys)
    assert tops[f"{NASTY}: 8"] == pytest.approx(4 * tops["0-1: 2"], abs=0.5)
    assert tops["1-2: 0"] == 0
    texts = [text.text for text in root.iter("text")]
    assert {"2", "8", "0-1", NASTY, "seconds"} <= set(texts)
    assert "0" not in texts
    assert "hue1" in bar_chart("None", {"a": 0}, "x")


def test_detection_is_linear_up_and_logarithmic_across() -> None:
    points = [(0.0, 0.0, "a"), (1.0, 25.0, "b"), (10.0, 50.0, "c"), (100.0, 100.0, "d")]
    svg = detection_chart("Detection", points)
    ((a, b, c, d),) = paths(svg, "mean")
    assert c[0] - b[0] == pytest.approx(d[0] - c[0], abs=0.3)
    assert a[0] < b[0]
    assert (a[1] - c[1]) / (a[1] - d[1]) == pytest.approx(0.5, abs=0.01)
    assert sorted(dots(svg)) == ["a", "b", "c", "d"]
    assert {"0", "1", "10", "100"} <= {t.text for t in ElementTree.fromstring(svg).iter("text")}
    assert "nan" not in detection_chart("One", [(0.0, 0.0, NASTY)])


def test_the_settings_of_the_user_change_nothing() -> None:
    chart = interval_chart("PAUC", [ROW], {"oracle": 3.0})
    own = {"font.size": 30, "axes.grid": True, "lines.dashed_pattern": (1, 1), "text.usetex": True}
    with matplotlib.rc_context(own):
        assert interval_chart("PAUC", [ROW], {"oracle": 3.0}) == chart
        assert matplotlib.rcParams["font.size"] == 30


def test_texts_stay_text() -> None:
    row = DotRow(NASTY, 2, {NASTY: 1.0}, 1.0, None, NASTY)
    for svg in (
        line_chart(NASTY, [Line({1: 1.0, 2: 3.0}, 3, NASTY, NASTY)]),
        interval_chart(NASTY, [row], {NASTY: 2.0}),
    ):
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-label"] == NASTY
        assert NASTY in [text.text for text in root.iter("text")]
        assert "<script" not in svg


def test_a_chart_brings_no_colour_font_address_or_date_of_its_own() -> None:
    lines = [Line({1: 1.0, 2: float(hue)}, hue, "t", f"arm {hue}") for hue in range(NUM_HUES)]
    for svg in (line_chart("Loss", lines), interval_chart("PAUC", [ROW], {"oracle": 3.0})):
        assert not re.search(r"#[0-9a-f]{6}|font-family|http|url\(|<style|<metadata|20\d\d-", svg)
    assert len(DASHES) == NUM_HUES


@pytest.mark.parametrize("hue", range(NUM_HUES))
def test_every_text_line_and_dot_has_a_colour_of_the_page(hue: int) -> None:
    line = line_chart("Loss", [Line({1: 1.0, 2: 3.0}, hue, "", "rl")])
    rows = interval_chart("PAUC", [replace(ROW, hue=hue)], {"oracle": 3.0})
    assert line.count(f"var(--hue{hue})") == 2  # itself, and its name
    assert rows.count(f"var(--hue{hue})") == 4  # the name, the interval, two dots
    for svg in (line, rows):
        styles = [text.attrib["style"] for text in ElementTree.fromstring(svg).iter("text")]
        assert all("fill: var(--" in style for style in styles)


def test_the_same_values_are_the_same_chart_and_ids_differ_between_charts() -> None:
    def ids(svg: str) -> set[str]:
        return set(re.findall(r' id="(\w+)"', svg))

    one, other = interval_chart("PAUC", [ROW], {}), interval_chart("Delay", [ROW], {})
    assert one == interval_chart("PAUC", [ROW], {})
    assert ids(one)
    assert not ids(one) & ids(other)


def test_names_at_the_ends_of_lines_do_not_touch() -> None:
    lines = [Line({1: 0.0, 2: value}, i, "", f"arm {i}") for i, value in enumerate((0, 0, 0, 9, 9))]
    texts = ElementTree.fromstring(line_chart("Loss", lines)).iter("text")
    places = {t.text: float(t.attrib["y"]) for t in texts if (t.text or "").startswith("arm")}
    ordered = sorted(places.values())
    assert len(places) == 5
    assert min(b - a for a, b in pairwise(ordered)) >= 12.9
    assert max(places["arm 3"], places["arm 4"]) < min(places[f"arm {i}"] for i in range(3))
    assert all(0 < y < 192 for y in ordered)
    assert math.isfinite(sum(ordered))


def test_matplotlib_and_jinja2_wait_until_something_is_drawn() -> None:
    code = (
        "import sys, oncue.cli, oncue.train.run_report, oncue.pages.page\n"
        "assert not {'matplotlib', 'jinja2'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
