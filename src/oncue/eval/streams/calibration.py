"""The speak knob: at which reply bias a model stays at or below so many false replies per quiet
hour, and what it then detects.

The rate need not rise with the bias, so the knob is the largest bias that was measured at or below
the limit, not the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, DataError
from oncue.eval.streams.benchmark import Terms
from oncue.eval.streams.curve import CurvePoint
from oncue.eval.table import TextTable
from oncue.files import prepare_folder, write_json

BIASES = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
NUM_HALVINGS = 4  # of the gap in which the rate passes the limit
FILE = "calibration.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The curve of a model, by bias, and its point at the limit.

    `limit`: false replies per quiet hour. `chosen`: None where the rate is above the limit at every
    bias. `protocol`: how the model was run, and on what.
    """

    limit: float
    curve: tuple[CurvePoint, ...]
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> CurvePoint | None:
        below = [point for point in self.curve if _is_below(point, self.limit)]
        return max(below, key=lambda point: point.bias, default=None)

    def tables(self) -> Sequence[TextTable]:
        """One row per bias."""
        columns = ("hit_spans", "false_per_quiet_hour", "f1")
        rows = tuple(
            (f"{point.bias:g}", *(_cell(getattr(point, name)) for name in columns))
            for point in self.curve
        )
        return (TextTable("Reply bias", ("reply bias", *columns), rows),)

    def remarks(self) -> list[str]:
        """The bias, or why there is none, and what was measured."""
        rate, hours = f"{self.limit:g} false replies per quiet hour", self.curve[0].quiet_hours
        lines = [f"measured on {hours:g} quiet hours"]
        if 0 < hours * self.limit < 1:
            lines.append(
                f"that is too short to tell {rate} from none: one false reply is above the limit"
            )
        if (chosen := self.chosen) is None:
            lines.append(f"at every bias measured there are more than {rate}: no bias is chosen")
            return lines
        lines.append(
            f"reply bias {chosen.bias:g}: the largest measured with at most {rate} "
            f"({_cell(chosen.false_per_quiet_hour)})"
        )
        if chosen.bias == max(point.bias for point in self.curve):
            lines.append("it is the largest bias that was measured; a larger one may do, too")
        return lines

    def headline(self) -> dict[str, Any]:
        """For scripts and files."""
        chosen = self.chosen
        return {
            "bias": None if chosen is None else chosen.bias,
            "limit_false_per_quiet_hour": self.limit,
            "at_bias": None if chosen is None else asdict(chosen),
            "quiet_hours": self.curve[0].quiet_hours,
            "curve": [asdict(point) for point in self.curve],
            "protocol": dict(self.protocol),
        }

    def numbers(self) -> dict[str, Any]:
        return self.headline()

    def texts(self) -> dict[str, str]:
        return {}

    def write(self, path: Path) -> None:
        """Writes the file that `read_calibration` reads."""
        write_json(path, self.headline())


def calibrate(
    measure: Callable[[float], Terms],
    limit: float,
    biases: Sequence[float] = BIASES,
    protocol: Mapping[str, Any] | None = None,
) -> Calibration:
    """The curve at `biases`, and at biases in between where the rate passes `limit`.

    `measure`: the sums of `behaviour_terms` over all items at a bias. Raises ConfigError for a
    limit below 0, no bias, and items without quiet time, where nothing could be a false reply.
    """
    if not limit >= 0 or not biases:
        raise ConfigError(
            "calibrating needs a limit of 0 or more false replies per hour, and biases to try; got "
            f"{limit} and {list(biases)}"
        )
    points: dict[float, CurvePoint] = {}

    def at(bias: float) -> CurvePoint:
        point = CurvePoint.of(bias, measure(bias))
        if point.false_per_quiet_hour is None:
            raise ConfigError(
                "these items have no quiet time: something is due all the time, or nobody says how "
                "long they are; calibrate on others"
            )
        points[bias] = point
        return point

    for bias in sorted(set(biases)):
        at(bias)
    below = [bias for bias, point in points.items() if _is_below(point, limit)]
    above = [bias for bias in points if below and bias > max(below)]
    if above:
        low, high = max(below), min(above)
        for _ in range(NUM_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if _is_below(at(middle), limit) else (low, middle)
    curve = tuple(points[bias] for bias in sorted(points))
    return Calibration(limit, curve, protocol or {})


def added(terms: Iterable[Terms]) -> Terms:
    """The sums of the terms of items."""
    sums: dict[str, float] = {}
    for each in terms:
        for name, value in each.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def place_for(out: Path | None, model: str | None) -> Path:
    """Where the calibration of a model goes: into `out`, or without one beside a model that is a
    folder here. Raises ConfigError where neither is there."""
    if out is not None:
        return out / FILE
    folder = Path(model) if model else None
    if folder is None or not folder.is_dir():
        raise ConfigError(f"say where {FILE} goes with --out; only a model folder can hold it")
    prepare_folder(folder, "say where the calibration goes with --out")
    return folder / FILE


@dataclass(frozen=True, slots=True)
class Knob:
    """A reply bias and, of one that was calibrated, the file it is from, its model and its frame
    interval in seconds, where that says so."""

    bias: float
    path: Path | None = None
    model: str | None = None
    frame_interval_s: float | None = None

    def check(self, model: str, frame_interval_s: float) -> None:
        """Raises ConfigError where it was calibrated for another model (folders may have moved, so
        only their names are compared) or frame interval."""
        advice = f"calibrate that one, or give the bias yourself with --reply-bias {self.bias:g}"
        if self.model is not None and Path(self.model).name != Path(model).name:
            raise ConfigError(f"{self.path} is of the model {self.model}, not of {model}; {advice}")
        if self.frame_interval_s is not None and self.frame_interval_s != frame_interval_s:
            raise ConfigError(
                f"{self.path} is of frames every {self.frame_interval_s:g} s, not every "
                f"{frame_interval_s:g} s; {advice}"
            )


def read_calibration(path: Path) -> Knob:
    """The knob of a file. Raises DataError for another file, and for one without a bias."""
    try:
        row = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} as JSON: {error}; expected {FILE}") from error
    if not isinstance(row, dict) or "bias" not in row:
        raise DataError(f"{path} is no {FILE} of --calibrate-false-per-hour: it has no 'bias'")
    protocol = row.get("protocol")
    if not isinstance(protocol, dict):
        protocol = {}
    bias, interval_s = row["bias"], protocol.get("frame_interval_s")
    if bias is None:
        raise DataError(
            f"{path} holds no bias: at every one there were more false replies than its limit; "
            "calibrate with a higher one"
        )
    if not isinstance(bias, int | float) or isinstance(bias, bool):
        raise DataError(f"{path}: 'bias' must be a number, got {bias!r:.60}")
    model = protocol.get("model")
    return Knob(
        float(bias),
        path,
        model if isinstance(model, str) else None,
        float(interval_s) if isinstance(interval_s, int | float) else None,
    )


def _is_below(point: CurvePoint, limit: float) -> bool:
    return point.false_per_quiet_hour is not None and point.false_per_quiet_hour <= limit


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
