"""How detection and false alarms change with the reply bias, as a calibration has measured it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.streams.behaviour import PREFIX, behaviour_figures
from oncue.eval.streams.benchmark import Terms
from oncue.eval.table import percent
from oncue.fields import field_as, has_value

_EXPECTED = (
    'a calibration, {"curve": [{"bias", "hit_spans", "false_per_quiet_hour"}]}, as a calibration '
    "of oncue writes it"
)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """How a model behaves at `bias`: the share of due spans in which it replied and the F1 of its
    timing, both in percent, its false replies per quiet hour, and how many quiet hours that is.

    None: nothing was due, nothing was quiet, or nobody says.
    """

    bias: float
    hit_spans: float | None
    false_per_quiet_hour: float | None
    f1: float | None = None
    quiet_hours: float = 0.0

    @classmethod
    def of(cls, bias: float, sums: Terms) -> CurvePoint:
        """Of the sums of `behaviour_terms` over all items."""
        figures = behaviour_figures(sums)
        hit, due, false = (sums[PREFIX + name] for name in ("num_hit", "num_due", "num_false"))
        both, quiet_s = hit + due + false, sums[PREFIX + "quiet_s"]
        return cls(
            bias,
            figures["hit_spans"],
            round(3600 * false / quiet_s, 6) if quiet_s > 0 else None,
            percent(2 * hit / both) if both else None,  # 2 hit / (2 hit + false + missed)
            round(quiet_s / 3600, 4),
        )

    @property
    def is_known(self) -> bool:
        """Whether it can be drawn."""
        return self.hit_spans is not None and self.false_per_quiet_hour is not None


def read_curve(path: Path) -> tuple[CurvePoint, ...]:
    """The curve of a calibration.json, by bias. Raises DataError for a file without one."""
    try:
        row = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} ({error}); expected {_EXPECTED}") from error
    if not isinstance(row, Mapping) or "curve" not in row:
        raise DataError(f"{path} holds {row!r:.60}; expected {_EXPECTED}")
    points = [
        _point(point, f"{path}, point {number}")
        for number, point in enumerate(field_as(list[Any], row, "curve", str(path)), 1)
    ]
    return tuple(sorted(points, key=lambda point: point.bias))


def _point(row: Any, where: str) -> CurvePoint:
    if not has_value(row, "bias"):
        raise DataError(f"{where}: expected {_EXPECTED}, got {row!r:.80}")
    hit, false = (_number(row, n, where, 0.0) for n in ("hit_spans", "false_per_quiet_hour"))
    bias = _number(row, "bias", where, -math.inf)
    assert bias is not None
    if hit is not None and hit > 100:
        raise DataError(f"{where}: 'hit_spans' must be 0 to 100 percent, got {hit:g}")
    return CurvePoint(bias, hit, false)


def _number(row: Mapping[str, Any], name: str, where: str, least: float) -> float | None:
    if not has_value(row, name):
        return None
    value = row[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < least:
        what = "a number" if least == -math.inf else f"a number, {least:g} or more"
        raise DataError(f"{where}: {name!r} must be {what}, got {value!r:.80}")
    return float(value)
