"""The charts of a study: an arm's seeds with their mean, as dots and over the steps of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from oncue.pages.charts import DotRow, Line, interval_chart, line_chart
from oncue.study.intervals import mean_of
from oncue.study.tables import decimal, mean_text

SMOOTHED_STEPS = 10

Points = Mapping[int, float]  # step -> value; a step without one is a gap


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
    lines: Sequence[Points]


def dot_plot(
    heading: str,
    decimals: int,
    arms: Sequence[Dots],
    marks: Mapping[str, float],
    bounds: tuple[float, float],
) -> Markup:
    """A row per arm: a dot per seed, a bar at the mean, a band over its 95 % interval; empty where
    nothing is known.

    `marks`: lines with a name, across all rows. `bounds`: what values can be; intervals end there.
    """
    rows = []
    for arm in arms:
        mean = mean_of(arm.values)
        if mean is None:
            continue
        dots = {
            f"seed {seed}: {decimal(value, decimals)}": value
            for seed, value in zip(arm.seeds, arm.values, strict=True)
            if value is not None
        }
        interval = None
        if mean.half_width is not None:
            interval = (max(mean.low, bounds[0]), min(mean.high, bounds[1]))
        text = mean_text(mean, decimals)
        rows.append(DotRow(arm.name, arm.hue, dots, mean.value, interval, text))
    if not rows:
        return Markup()
    named = {f"{name} {decimal(value, decimals)}": value for name, value in marks.items()}
    said = "; ".join(f"{row.name} {row.text}" for row in rows)
    return interval_chart(f"{heading}. {said}", rows, named)


def curve_chart(heading: str, decimals: int, arms: Sequence[Curves]) -> Markup:
    """Values over steps: a thin line per seed, a thick one for their mean, named at its end; empty
    without values."""
    thin = [
        Line(line, arm.hue, f"{arm.name}, seed {seed}", is_thin=True)
        for arm in arms
        for seed, line in zip(arm.seeds, arm.lines, strict=True)
        if line
    ]
    thick = [
        Line(line, arm.hue, f"{arm.name}, mean of seeds", arm.name)
        for arm in arms
        if (line := _mean_line(arm.lines))
    ]
    if not thin:
        return Markup()
    said = "; ".join(
        f"{line.label} from {decimal(line.points[min(line.points)], decimals)} to "
        f"{decimal(line.points[max(line.points)], decimals)}"
        for line in thick
    )
    return line_chart(f"{heading} over steps. {said}", [*thin, *thick])


def smoothed(steps: Sequence[int], values: Sequence[float | None]) -> Points:
    """Running means over the newest `SMOOTHED_STEPS` values, fewer at the start; no value where all
    are None."""
    line = {}
    for i, step in enumerate(steps[: len(values)]):
        mean = mean_of(values[max(0, i + 1 - SMOOTHED_STEPS) : i + 1])
        if mean is not None:
            line[step] = mean.value
    return line


def _mean_line(lines: Sequence[Points]) -> Points:
    """The mean of seeds, as far as the shortest of them goes."""
    begun = [line for line in lines if line]
    if not begun:
        return {}
    last = min(max(line) for line in begun)
    steps = sorted({step for line in begun for step in line if step <= last})
    means = {step: mean_of([line.get(step) for line in begun]) for step in steps}
    return {step: mean.value for step, mean in means.items() if mean is not None}
