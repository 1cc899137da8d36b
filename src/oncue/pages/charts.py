"""Charts as SVG for a page, drawn by matplotlib: lines over steps, rows of dots with intervals,
bars, and one figure against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from oncue.pages.canvas import WIDTH, Canvas, colour_of, new_canvas, ticks, write_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of lines, in px, by hue: dashes and names tell lines apart where colours do not
DASHES = ((), (), (7, 3), (2, 3), (9, 3, 2, 3), (5, 2), (1, 2), (12, 3))

_CURVE, _ROW, _MARK = 192, 42, 14  # px: the height of a line chart, of a row, of a mark's name


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
    right = min(max(36.0, *(14 + 6.5 * len(line.label) for line in lines)), WIDTH / 2)
    with new_canvas(words, _CURVE) as canvas:
        axes = canvas.axes(left=40, right=right, top=14, bottom=20)
        for line in lines:
            (drawn,) = axes.plot(
                *_with_gaps(line.points),
                color=colour_of(f"hue{line.hue}"),
                lw=1 if line.is_thin else 2.2,
                alpha=0.4 if line.is_thin else None,
                ls="-" if line.is_thin or not DASHES[line.hue] else (0, DASHES[line.hue]),
            )
            canvas.name(drawn, "seed" if line.is_thin else "mean", line.title)
        ticks(axes, "y")
        ticks(axes, "x", integer=True)
        write_at(axes, (1, 0), "step", "soft", shift=(14, -10), xycoords="axes fraction")
        _write_ends(axes, [line for line in lines if line.label and line.points])
        return canvas.svg()


def interval_chart(words: str, rows: Sequence[DotRow], marks: Mapping[str, float]) -> Markup:
    """A row for each of `rows`: its dots, a bar at the mean, a pale band over the interval.

    The axis reaches to zero. `marks` are dashed lines with a name, across all rows.
    """
    top = _MARK * len(marks)
    bottom = top + _ROW * len(rows) + 4
    with new_canvas(words, bottom + 18) as canvas:
        axes = canvas.axes(left=12, right=12, top=0, bottom=18)
        axes.set(ylim=(bottom, 0), yticks=[])  # px from the top
        axes.update_datalim([(0, 0)])
        for i, value in enumerate(marks.values()):
            ys: list[float] = [_MARK * i + 2, top]
            for j in range(len(rows)):  # but not through the words of the rows
                ys += [nan, top + _ROW * j + 18, top + _ROW * j + 38]
            axes.plot([value] * len(ys), ys, color=colour_of("soft"), lw=1, ls=(0, (3, 3)))
        for i, row in enumerate(rows):
            _draw_row(canvas, axes, row, top + _ROW * i)
        ticks(axes, "x")
        middle = sum(axes.get_xlim()) / 2
        for i, (name, value) in enumerate(marks.items()):
            side, shift = ("left", 4) if value < middle else ("right", -4)
            write_at(axes, (value, _MARK * i + 8), name, "soft", side, (shift, 0))
        return canvas.svg()


def bar_chart(words: str, bars: Mapping[str, int], below: str) -> Markup:
    """A bar for each name, as high as its number, in the order given. `below` says what the names
    are."""
    with new_canvas(words, _CURVE) as canvas:
        axes = canvas.axes(left=4, right=4, top=18, bottom=36)
        top = max(1, *bars.values())
        axes.set(xticks=[], yticks=[], xlim=(-0.5, len(bars) - 0.5), ylim=(0, top))
        for i, (name, num) in enumerate(bars.items()):
            (bar,) = axes.bar([i], [num], width=0.8, color=colour_of("hue1"))
            canvas.name(bar, "bar", f"{name}: {num}")
            if num:
                write_at(axes, (i, num), str(num), "ink", "center", (0, 8))
            write_at(axes, (i, 0), name, "soft", "center", (0, -9))
        across = {"xycoords": "axes fraction"}
        write_at(axes, (0.5, 0), below, "soft", "center", (0, -27), **across)
        return canvas.svg()


def detection_chart(words: str, points: Sequence[tuple[float, float, str]]) -> Markup:
    """Detection against false alarms: (false alarms, share found in percent, title) of each point,
    joined in the order given. The axis of false alarms is linear to 1 and logarithmic above."""
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    right = max(10.0, *xs)
    with new_canvas(words, 232) as canvas:
        axes = canvas.axes(left=36, right=18, top=26, bottom=38)
        axes.set_xscale("symlog", linthresh=1)
        powers = [10**k for k in range(7) if 10**k <= right]
        axes.set(xlim=(0, right), ylim=(0, 100), yticks=[0, 25, 50, 75, 100])
        axes.set_xticks([0, *powers], [f"{x:,}" for x in (0, *powers)])
        axes.minorticks_off()
        axes.grid(color=colour_of("line"), lw=1)
        axes.tick_params(length=0, labelcolor=colour_of("soft"), pad=5)
        (drawn,) = axes.plot(xs, ys, color=colour_of("hue1"), lw=2.2)
        canvas.name(drawn, "mean")
        for x, y, title in points:
            (dot,) = axes.plot([x], [y], "o", ms=8, color=colour_of("hue1"), mec=colour_of("card"))
            canvas.name(dot, "point", title)
        named = {"xycoords": "axes fraction"}
        write_at(axes, (0, 1), "due spans with a reply, %", "soft", "left", (-30, 14), **named)
        below = "false replies per quiet hour"
        write_at(axes, (1, 0), below, "soft", "right", (10, -28), **named)
        return canvas.svg()


def _draw_row(canvas: Canvas, axes: Axes, row: DotRow, top: float) -> None:
    y, colour = top + 28, colour_of(f"hue{row.hue}")
    across = axes.get_yaxis_transform()  # 0 to 1, from left to right
    axes.plot([0, 1], [y, y], transform=across, color=colour_of("line"), lw=1)
    if row.interval:
        (band,) = axes.plot(
            row.interval, [y, y], color=colour, lw=8, alpha=0.24, solid_capstyle="round"
        )
        canvas.name(band, "interval")
    for name, value in row.dots.items():
        (dot,) = axes.plot([value], [y], "o", ms=9, color=colour, mec=colour_of("card"), mew=1)
        canvas.name(dot, "point", f"{row.name}, {name}")
    axes.plot([row.mean] * 2, [y - 8, y + 8], color=colour_of("ink"), lw=2.5)
    large: dict[str, Any] = {"xycoords": across, "fontsize": 12.5}
    write_at(axes, (0, top + 10), row.name, f"hue{row.hue}", fontweight="bold", **large)
    write_at(axes, (1, top + 10), row.text, "ink", "right", **large)


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
        write_at(
            axes,
            (1, y / height),
            line.label,
            f"hue{line.hue}",
            shift=(5, 0),
            xycoords="axes fraction",
            fontweight="bold",
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
