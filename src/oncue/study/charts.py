"""The charts of a study: inline SVG, drawn without scripts; names and dashes tell arms apart where
colours do not.

Colours are classes (`hue0` to `hue7`) that the style of the page fills in, for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from oncue.study.intervals import Mean, mean_of
from oncue.study.tables import decimal, mean_text

SMOOTHED_STEPS = 10
_WIDTH = 360  # of all charts: that of a phone, so that text keeps its size there
_ROW = 42  # from one arm of a dot plot to the next
_MAX_POINTS = 300  # of a line; more could not be told apart
_DASHES = ("", "", "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 3")  # by hue

Line = Mapping[int, float]  # step -> value; a step without one is a gap


@dataclass(frozen=True, slots=True)
class Dots:
    """An arm in a dot plot: `values` of its `seeds`, of which None is not drawn."""

    name: str
    hue: int
    seeds: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Curves:
    """An arm in a chart over steps: a line for each of its `seeds`, already smoothed."""

    name: str
    hue: int
    seeds: Sequence[int]
    lines: Sequence[Line]


def dot_plot(
    heading: str,
    decimals: int,
    arms: Sequence[Dots],
    marks: Mapping[str, float],
    bounds: tuple[float, float],
) -> str:
    """A row per arm: a dot per seed, a bar at the mean, a band over its 95 % interval; empty where
    nothing is known.

    `marks`: dashed lines with a name, across all rows. `bounds`: what values can be; intervals end
    there. The axis reaches to zero.
    """
    rows = [(arm, mean) for arm in arms if (mean := mean_of(arm.values)) is not None]
    if not rows:
        return ""
    known = [value for arm, _ in rows for value in arm.values if value is not None]
    ends = [
        min(max(end, bounds[0]), bounds[1])
        for _, m in rows
        if m.half_width is not None
        for end in (m.low, m.high)
    ]
    axis = _axis([0.0, *known, *ends, *marks.values()], 12, _WIDTH - 12)
    top = 14 * len(marks)
    bottom = top + _ROW * len(rows) + 4
    drawn = [_grid_upright(axis, top, bottom)]
    drawn += [
        _mark(name, value, decimals, axis, (14 * i + 11, top), len(rows))
        for i, (name, value) in enumerate(marks.items())
    ]
    drawn += [
        _dot_row(arm, mean, decimals, axis, top + _ROW * i, bounds)
        for i, (arm, mean) in enumerate(rows)
    ]
    told = "; ".join(f"{arm.name} {mean_text(mean, decimals)}" for arm, mean in rows)
    return _figure(heading, f"{heading}. {told}", bottom + 18, drawn)


def curve_chart(heading: str, decimals: int, arms: Sequence[Curves]) -> str:
    """Values over steps: a thin line per seed, a thick one for their mean, named at its end; empty
    without values."""
    means = {arm.name: _mean_line(arm.lines) for arm in arms}
    lines = [line for arm in arms for line in arm.lines if line]
    if not lines:
        return ""
    top, bottom, left = 8, 172, 36
    right = _WIDTH - 14 - 6 * max(len(arm.name) for arm in arms)
    across = _axis([step for line in lines for step in line], left, right, whole=True)
    up = _axis([value for line in lines for value in line.values()], bottom, top)
    drawn = [_grid_level(up, left, right), _steps_below(across, bottom)]
    for arm in arms:
        for seed, line in zip(arm.seeds, arm.lines, strict=True):
            drawn.append(_path(line, across, up, arm.hue, "seed", f"{arm.name}, seed {seed}"))
    for arm in arms:
        drawn.append(
            _path(means[arm.name], across, up, arm.hue, "mean", f"{arm.name}, mean of seeds")
        )
    drawn.append(
        _end_labels(
            [(arm, means[arm.name]) for arm in arms if means[arm.name]],
            up,
            right + 5,
            (top, bottom),
        )
    )
    told = "; ".join(
        f"{arm.name} from {decimal(line[min(line)], decimals)} to "
        f"{decimal(line[max(line)], decimals)}"
        for arm in arms
        if (line := means[arm.name])
    )
    return _figure(heading, f"{heading} over steps. {told}", bottom + 20, drawn)


def key_of(name: str, hue: int) -> str:
    """An arm in the legend: its line, and its name."""
    return (
        f'<span class="key"><svg class="swatch hue{hue}" viewBox="0 0 30 8" aria-hidden="true">'
        f'<path class="mean" d="M1 4H29"{_dash(hue)}/></svg>{escape(name)}</span>'
    )


def smoothed(steps: Sequence[int], values: Sequence[float | None]) -> Line:
    """Running means over the newest `SMOOTHED_STEPS` values, fewer at the start; no value where all
    are None."""
    line = {}
    for i, step in enumerate(steps[: len(values)]):
        mean = mean_of(values[max(0, i + 1 - SMOOTHED_STEPS) : i + 1])
        if mean is not None:
            line[step] = mean.value
    return line


def _mean_line(lines: Sequence[Line]) -> Line:
    """The mean of seeds, as far as the shortest of them goes."""
    begun = [line for line in lines if line]
    if not begun:
        return {}
    last = min(max(line) for line in begun)
    steps = sorted({step for line in begun for step in line if step <= last})
    means = {step: mean_of([line.get(step) for line in begun]) for step in steps}
    return {step: mean.value for step, mean in means.items() if mean is not None}


@dataclass(frozen=True, slots=True)
class _Axis:
    """`ticks` from one end to the other, `step` apart; `start_px` and `end_px` are the places of
    the ends."""

    ticks: tuple[float, ...]
    step: float
    start_px: float
    end_px: float

    def at(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.start_px + (value - low) / (high - low) * (self.end_px - self.start_px)

    def text(self, tick: float) -> str:
        decimals = next((d for d in range(9) if math.isclose(round(self.step, d), self.step)), 9)
        return decimal(tick, decimals)


def _axis(values: Sequence[float], start_px: float, end_px: float, *, whole: bool = False) -> _Axis:
    """An axis over all `values`, with round ticks; `whole`: none between whole numbers."""
    low, high = min(values), max(values)
    if high == low:
        high = low + (abs(low) * 0.1 or 1.0)
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return _Axis(
        tuple(i * step for i in range(first, max(last, first + 1) + 1)), step, start_px, end_px
    )


def _figure(heading: str, told: str, height: float, drawn: Sequence[str]) -> str:
    return (
        f'<figure class="chart"><figcaption>{escape(heading)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(told)}">{"".join(drawn)}</svg></figure>'
    )


def _text(x: float, y: float, words: str, name: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def _grid_upright(axis: _Axis, top: float, bottom: float) -> str:
    lines = "".join(
        f'<path class="grid" d="M{axis.at(t):.1f} {top}V{bottom}"/>' for t in axis.ticks
    )
    return lines + "".join(
        _text(axis.at(t), bottom + 13, axis.text(t), "soft", "middle") for t in axis.ticks
    )


def _grid_level(axis: _Axis, left: float, right: float) -> str:
    lines = "".join(
        f'<path class="grid" d="M{left} {axis.at(t):.1f}H{right}"/>' for t in axis.ticks
    )
    return lines + "".join(
        _text(left - 5, axis.at(t) + 4, axis.text(t), "soft", "end") for t in axis.ticks
    )


def _steps_below(axis: _Axis, bottom: float) -> str:
    numbers = "".join(
        _text(axis.at(t), bottom + 15, axis.text(t), "soft", "middle") for t in axis.ticks
    )
    return numbers + _text(axis.end_px + 16, bottom + 15, "step", "soft")


def _mark(
    name: str, value: float, decimals: int, axis: _Axis, places: tuple[float, float], num_rows: int
) -> str:
    """A name, and below it a line across each row, but not through its words. `places`: of the
    name, of the rows."""
    y, top = places
    x, words = axis.at(value), f"{name} {decimal(value, decimals)}"
    is_left = x < _WIDTH / 2
    label = _text(x + (4 if is_left else -4), y, words, "soft", "start" if is_left else "end")
    pieces = "".join(f"M{x:.1f} {top + _ROW * i + 18}v20" for i in range(num_rows))
    return f'<path class="mark" d="M{x:.1f} {y - 9}V{top}{pieces}"/>{label}'


def _dot_row(
    arm: Dots, mean: Mean, decimals: int, axis: _Axis, y: float, bounds: tuple[float, float]
) -> str:
    parts = [
        _text(12, y + 14, arm.name, "name"),
        _text(_WIDTH - 12, y + 14, mean_text(mean, decimals), "value", "end"),
        f'<path class="rail" d="M{axis.start_px} {y + 28}H{axis.end_px}"/>',
    ]
    if mean.half_width is not None:
        low, high = (axis.at(min(max(end, bounds[0]), bounds[1])) for end in (mean.low, mean.high))
        parts.append(f'<path class="interval" d="M{low:.1f} {y + 28}H{high:.1f}"/>')
    for seed, value in zip(arm.seeds, arm.values, strict=True):
        if value is not None:
            told = f"{arm.name}, seed {seed}: {decimal(value, decimals)}"
            x = axis.at(value)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y + 28}" r="4.5"><title>{escape(told)}</title></circle>'
            )
    parts.append(f'<path class="bar" d="M{axis.at(mean.value):.1f} {y + 20}V{y + 36}"/>')
    return f'<g class="hue{arm.hue}">{"".join(parts)}</g>'


def _path(line: Line, across: _Axis, up: _Axis, hue: int, name: str, told: str) -> str:
    """A line, lifted over wide gaps: those of more than twice the usual distance of its steps."""
    steps = sorted(line)[:: -(-len(line) // _MAX_POINTS) or 1]
    usual = min((b - a for a, b in pairwise(steps)), default=1)
    places, before = [], None
    for step in steps:
        pen = "L" if before is not None and step - before <= 2 * usual else "M"
        places.append(f"{pen}{across.at(step):.1f} {up.at(line[step]):.1f}")
        before = step
    title = f"<title>{escape(told)}</title>"
    return (
        f'<path class="{name} hue{hue}" d="{"".join(places)}"{_dash(hue)}>{title}</path>'
        if places
        else ""
    )


def _dash(hue: int) -> str:
    return f' stroke-dasharray="{_DASHES[hue]}"' if _DASHES[hue] else ""


def _end_labels(
    arms: Sequence[tuple[Curves, Line]], up: _Axis, x: float, room: tuple[float, float]
) -> str:
    """The names of arms at the ends of their lines, moved apart where they would touch."""
    wanted = sorted(
        ((up.at(line[max(line)]) + 4, arm) for arm, line in arms), key=lambda pair: pair[0]
    )
    placed: list[float] = []
    for y, _ in wanted:
        placed.append(max(y, placed[-1] + 13 if placed else room[0] + 4))
    for i in reversed(range(len(placed))):  # back up from the bottom
        placed[i] = min(placed[i], placed[i + 1] - 13 if i + 1 < len(placed) else room[1] + 4)
    return "".join(
        _text(x, y, arm.name, f"end hue{arm.hue}")
        for y, (_, arm) in zip(placed, wanted, strict=True)
    )
