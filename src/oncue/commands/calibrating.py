"""What the commands share that calibrate the speak knob."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from oncue import __version__
from oncue.commands.evaluating import EvalFlags, ReportFlags, policy_spec, show_scores
from oncue.commands.progress import Progress
from oncue.errors import ConfigError

if TYPE_CHECKING:
    from oncue.eval.runner import Benchmark
    from oncue.eval.streams.benchmark import Terms
    from oncue.eval.streams.calibration import Calibration

ItemT = TypeVar("ItemT")
SeenT = TypeVar("SeenT")


def calibrate_clips(
    flags: EvalFlags,
    limit: float,
    benchmark: Benchmark[ItemT, SeenT],
    sampling: Mapping[str, Any],
    local_only: Iterable[str],
    behaviour: Callable[[SeenT], Terms],
    protocol: Mapping[str, Any],
    seed: int = 0,
) -> int:
    """Calibrate the model of `flags` on clips, and report. Returns the exit code.

    `behaviour`: the terms of what is recorded of an item; `protocol`: on what, and how shown.
    """
    from oncue.eval.streams.calibration import place_for
    from oncue.eval.streams.calibration_runs import calibrated_on

    if not 0 <= limit < math.inf or sampling["reply_bias"]:
        raise ConfigError(
            "--calibrate-false-per-hour must be 0 or more, and sets the reply bias: leave "
            f"--reply-bias out; got {limit:g} and {sampling['reply_bias']:g}"
        )
    place = place_for(flags.out, flags.model if flags.server is None else None)
    spec = policy_spec(flags, sampling, seed, local_only, benchmark.questions())
    shown = {name: value for name, value in sampling.items() if name != "reply_bias"}
    shown |= {"seed": seed, "oncue": __version__}
    found = calibrated_on(benchmark, spec, behaviour, limit, Progress)
    return report_calibration(
        flags, replace(found, protocol={**protocol, **shown, **found.protocol}), place
    )


def report_calibration(flags: ReportFlags, found: Calibration, place: Path) -> int:
    """The curve to where the flags say, and into `place`. 1 where no bias keeps to the limit."""
    found.write(place)
    show_scores(found, json_line=flags.json)
    return 0 if found.chosen is not None else 1
