"""Charts as SVG for a page, drawn by matplotlib: lines over steps, and rows of dots with intervals.

Colours are the variables of `templates/style.css`, so that charts follow the theme of the page.
Figures are made without pyplot: there is no window, and nothing to close.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_HUES = 8
# Of lines, in px, by hue: dashes and names tell lines apart where colours do not
DASHES = ((), (), (7, 3), (2, 3), (9, 3, 2, 3), (5, 2), (1, 2), (12, 3))

_WIDTH = 360  # px of all charts: that of a phone, so that text keeps its size there
_CURVE, _ROW, _MARK = 192, 42, 14  # px: the height of a line chart, of a row, of a mark's name
_VARIABLES = (*(f"hue{i}" for i in range(NUM_HUES)), "ink", "soft", "line", "card")
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.autolimit_mode": "round_numbers",
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),  # what fits at the left
    "lines.scale_dashes": False,
    "lines.solid_joinstyle": "round",
    "path.simplify_threshold": 0.5,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
}


@dataclass(frozen=True, slots=True)
class Line:
    """Values by step. `title` shows where the pointer rests, `label` at the end of the line."""

    points: Mapping[int, float]
    hue: int = 1
    title: str = ""
    label: str = ""
    is_thin: bool = False


@dataclass(frozen=True, slots=True)
class DotRow:
    """A row of an interval chart: its `dots` by name, the `mean` and its `interval`, and the `text`
    at its right."""

    name: str
    hue: int
    dots: Mapping[str, float]
    mean: float
    interval: tuple[float, float] | None
    text: str


def line_chart(words: str, lines: Sequence[Line]) -> Markup:
    """Values over steps, as SVG. `words` say what it shows to who cannot see it."""
    right = min(max(36.0, *(14 + 6.5 * len(line.label) for line in lines)), _WIDTH / 2)
    with _canvas(words, _CURVE) as canvas:
        axes = canvas.axes(left=40, right=right, top=14, bottom=20)
        for line in lines:
            (drawn,) = axes.plot(
                *_with_gaps(line.points),
                color=_colour(f"hue{line.hue}"),
                lw=1 if line.is_thin else 2.2,
                alpha=0.4 if line.is_thin else None,
                ls="-" if line.is_thin or not DASHES[line.hue] else (0, DASHES[line.hue]),
            )
            canvas.name(drawn, "seed" if line.is_thin else "mean", line.title)
        _ticks(axes, "y")
        _ticks(axes, "x", integer=True)
        _write(axes, (1, 0), "step", "soft", shift=(14, -10), xycoords="axes fraction")
        _write_ends(axes, [line for line in lines if line.label and line.points])
        return canvas.svg()


def interval_chart(words: str, rows: Sequence[DotRow], marks: Mapping[str, float]) -> Markup:
    """A row for each of `rows`: its dots, a bar at the mean, a pale band over the interval.

    The axis reaches to zero. `marks` are dashed lines with a name, across all rows.
    """
    top = _MARK * len(marks)
    bottom = top + _ROW * len(rows) + 4
    with _canvas(words, bottom + 18) as canvas:
        axes = canvas.axes(left=12, right=12, top=0, bottom=18)
        axes.set(ylim=(bottom, 0), yticks=[])  # px from the top
        axes.update_datalim([(0, 0)])
        for i, value in enumerate(marks.values()):
            ys: list[float] = [_MARK * i + 2, top]
            for j in range(len(rows)):  # but not through the words of the rows
                ys += [nan, top + _ROW * j + 18, top + _ROW * j + 38]
            axes.plot([value] * len(ys), ys, color=_colour("soft"), lw=1, ls=(0, (3, 3)))
        for i, row in enumerate(rows):
            _draw_row(canvas, axes, row, top + _ROW * i)
        _ticks(axes, "x")
        middle = sum(axes.get_xlim()) / 2
        for i, (name, value) in enumerate(marks.items()):
            side, shift = ("left", 4) if value < middle else ("right", -4)
            _write(axes, (value, _MARK * i + 8), name, "soft", side, (shift, 0))
        return canvas.svg()


def _draw_row(canvas: _Canvas, axes: Axes, row: DotRow, top: float) -> None:
    y, colour = top + 28, _colour(f"hue{row.hue}")
    across = axes.get_yaxis_transform()  # 0 to 1, from left to right
    axes.plot([0, 1], [y, y], transform=across, color=_colour("line"), lw=1)
    if row.interval:
        (band,) = axes.plot(
            row.interval, [y, y], color=colour, lw=8, alpha=0.24, solid_capstyle="round"
        )
        canvas.name(band, "interval")
    for name, value in row.dots.items():
        (dot,) = axes.plot([value], [y], "o", ms=9, color=colour, mec=_colour("card"), mew=1)
        canvas.name(dot, "point", f"{row.name}, {name}")
    axes.plot([row.mean] * 2, [y - 8, y + 8], color=_colour("ink"), lw=2.5)
    large: dict[str, Any] = {"xycoords": across, "fontsize": 12.5}
    _write(axes, (0, top + 10), row.name, f"hue{row.hue}", fontweight="bold", **large)
    _write(axes, (1, top + 10), row.text, "ink", "right", **large)


def _ticks(axes: Axes, name: Literal["x", "y"], *, integer: bool = False) -> None:
    """Limits and ticks at round numbers, and a grid; no grid where only whole numbers count."""
    axis = getattr(axes, f"{name}axis")
    axis.get_major_locator().set_params(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=integer)
    axis.set_tick_params(length=0, labelcolor=_colour("soft"), pad=5)
    axis.get_offset_text().set_color(_colour("soft"))
    axes.autoscale_view(scalex=name == "x", scaley=name == "y")
    if not integer:
        axes.grid(axis=name, color=_colour("line"), lw=1)


def _write_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """The names of lines at their ends, moved apart where they would touch."""
    (low, high), height = axes.get_ylim(), axes.get_position().height * _CURVE

    def at(line: Line) -> float:
        return (line.points[max(line.points)] - low) / (high - low) * height

    places: list[float] = []
    lines = sorted(lines, key=at)
    for line in lines:
        places.append(max(at(line), places[-1] + 13 if places else 0))
    for i in reversed(range(len(places))):  # back down from the top
        places[i] = min(places[i], places[i + 1] - 13 if i + 1 < len(places) else height)
    for line, y in zip(lines, places, strict=True):
        _write(
            axes,
            (1, y / height),
            line.label,
            f"hue{line.hue}",
            shift=(5, 0),
            xycoords="axes fraction",
            fontweight="bold",
        )


def _write(
    axes: Axes,
    place: tuple[float, float],
    text: str,
    variable: str,
    side: str = "left",
    shift: tuple[float, float] = (0, 0),
    **more: Any,
) -> None:
    """Text at `place`, moved by `shift` px. It is no formula, whatever it holds."""
    axes.annotate(
        text,
        place,
        shift,
        textcoords="offset points",
        ha=side,
        va="center",
        color=_colour(variable),
        parse_math=False,
        **more,
    )


def _with_gaps(points: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """Steps and values, with a break in gaps of more than twice the usual distance of steps."""
    steps = sorted(points)
    usual = min((b - a for a, b in pairwise(steps)), default=1)
    xs: list[float] = []
    ys: list[float] = []
    for step in steps:
        if xs and step - xs[-1] > 2 * usual:
            xs.append(nan)
            ys.append(nan)
        xs.append(step)
        ys.append(points[step])
    return xs, ys


def _colour(variable: str) -> str:
    """A colour in place of a variable of the style, until the chart is SVG. Black would not be
    written, as it is what SVG takes by itself."""
    return f"#0001{_VARIABLES.index(variable):02x}"


@contextmanager
def _canvas(words: str, height: float) -> Iterator[_Canvas]:
    import matplotlib
    from matplotlib.figure import Figure

    # Charts do not depend on what the user has set; the backend stays, whatever it is
    plain = {name: x for name, x in matplotlib.rcParamsDefault.items() if name != "backend"}
    # Of charts with other words, other ids
    with matplotlib.rc_context({**plain, **_STYLE, "svg.hashsalt": words}):
        yield _Canvas(words, height, Figure((_WIDTH / 72, height / 72)))


@dataclass(slots=True)
class _Canvas:
    """A figure of `_WIDTH` and `height` px, and what its parts are: (class, title) by id."""

    words: str
    height: float
    figure: Figure
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def axes(self, left: float, right: float, top: float, bottom: float) -> Axes:
        """Axes with these margins, in px."""
        return self.figure.add_axes(
            (
                left / _WIDTH,
                bottom / self.height,
                (_WIDTH - left - right) / _WIDTH,
                (self.height - top - bottom) / self.height,
            ),
            frame_on=False,
        )

    def name(self, artist: Artist, kind: str, title: str = "") -> None:
        """Gives a part of the chart a class, and what shows where the pointer rests."""
        artist.set_gid(f"part{len(self.parts)}")
        self.parts[artist.get_gid() or ""] = (kind, title)

    def svg(self) -> Markup:
        """The element as HTML has it: without namespaces, and only with ids that it refers to."""
        self.figure.patch.set_visible(False)
        for artist in self.figure.findobj():
            artist.set_clip_on(False)
        written = io.StringIO()
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.figure.savefig(written, format="svg", metadata=unsaid)
        root = ElementTree.fromstring(written.getvalue())
        named = {"role": "img", "aria-label": self.words}
        root.attrib = {"viewBox": root.attrib["viewBox"], **named}
        for styles in root.findall("{*}defs"):
            root.remove(styles)
        for element in list(root.iter()):
            self._to_html(element)
        return Markup(ElementTree.tostring(root, encoding="unicode"))

    def _to_html(self, element: ElementTree.Element) -> None:
        _, _, element.tag = element.tag.rpartition("}")
        element.attrib = {
            name.rpartition("}")[2]: _shortened(name, value)
            for name, value in element.attrib.items()
            if not value.startswith("rotate(-0 ")
        }
        if element.tag != "text":
            element.text = None
        element.tail = None
        if element.tag == "g":
            kind, title = self.parts.get(element.attrib.pop("id", ""), ("", ""))
            if kind:
                element.set("class", kind)
            if title:
                element.insert(0, ElementTree.Element("title"))
                element[0].text = title


def _shortened(name: str, value: str) -> str:
    """An attribute with the variables of the style for colours, the font of the page, and tenths of
    a px."""
    if name == "style":
        value = re.sub(r"#0001(\w\w)", lambda m: f"var(--{_VARIABLES[int(m[1], 16)]})", value)
        return re.sub(r"font-family: [^;]*; ?", "", value)
    if name in ("d", "x", "y"):
        return re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}", value))
    return value
