"""`--run`: a benchmark of proactive models is run before it is scored."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from oncue.commands.calibrating import report_calibration
from oncue.commands.evaluating import ReportFlags, report, write_scores
from oncue.commands.progress import Progress
from oncue.commands.stream_run_flags import RunFlags
from oncue.errors import ConfigError
from oncue.files import prepare_folder
from oncue.startup import loading

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark
    from oncue.eval.streams.result import StreamScores
    from oncue.eval.streams.running import StreamRun
    from oncue.policy.open_policy import PolicySpec


class ScoringCommand(ReportFlags, Protocol):
    """A command that scores a file of predictions."""

    def run(self) -> int: ...

    def scores(self) -> StreamScores: ...


class RunningFlags(ReportFlags, Protocol):
    """The flags of a benchmark with --run."""

    @property
    def annotations(self) -> tuple[Path, ...]: ...

    @property
    def predictions(self) -> Path | None: ...

    @property
    def format(self) -> str: ...

    @property
    def running(self) -> RunFlags: ...

    def benchmark(self) -> StreamBenchmark[Any]: ...

    @property
    def judge(self) -> str | None: ...

    @property
    def record(self) -> Path | None: ...

    @property
    def curve(self) -> Path | None: ...

    def check_scoring(self) -> None: ...

    def of_file(self, path: Path, out: Path | None) -> ScoringCommand: ...


def run_policy(flags: RunningFlags) -> int:
    """Run, and then score what was written as any other file of predictions.

    Raises ConfigError for flags that contradict each other, before anything is read.
    """
    from oncue.eval.streams.running import predict

    running = flags.running
    if flags.format != "oncue":
        raise ConfigError("--run writes predictions in our own form; leave --format out")
    running.check()
    if running.calibrate_false_per_hour is not None:
        return _calibrate(flags, running.calibrate_false_per_hour)
    if running.thresholds and flags.record is not None:
        raise ConfigError(
            "--record is for the judgements of one run; leave it out with --thresholds, and score "
            "the predictions of a threshold again with it"
        )
    flags.check_scoring()
    path = _predictions_path(flags)
    plan = running.plan(flags.benchmark(), flags.annotations)
    spec = running.spec(plan)
    if running.thresholds:
        return _sweep(flags, plan, spec, path)
    predict(plan, spec, path, Progress, resume=running.resume)
    return flags.of_file(path, flags.out).run()


def _sweep(flags: RunningFlags, plan: StreamRun, spec: PolicySpec, path: Path) -> int:
    """A run for each threshold: predictions in a file of its own beside `path`, scores in a folder
    of its own in --out."""
    from oncue.eval.streams.policies import loaded_once
    from oncue.eval.streams.running import predict
    from oncue.eval.streams.sweep import Sweep

    with loading():
        spec = loaded_once(spec)
    scores = []
    for threshold in dict.fromkeys(flags.running.thresholds):
        run = replace(plan, contender=flags.running.contender_at(threshold))
        place = path.with_stem(f"{path.stem}_threshold_{threshold:g}")
        predict(run, spec, place, Progress, resume=flags.running.resume)
        out = flags.out and flags.out / f"threshold_{threshold:g}"
        scores.append(flags.of_file(place, out).scores())
        write_scores(out, scores[-1], {})
    report(flags, Sweep(tuple(scores)), {})
    return 0


def _calibrate(flags: RunningFlags, limit: float) -> int:
    """Returns 1 where no bias keeps to `limit`."""
    from oncue.eval.streams.calibration import BIASES, place_for
    from oncue.eval.streams.calibration_runs import calibrated

    running = flags.running
    if flags.predictions is not None:
        raise ConfigError("calibrating writes predictions for each bias; leave --predictions out")
    for flag in ("judge", "record", "curve"):
        if getattr(flags, flag) is not None:
            raise ConfigError(f"calibrating counts replies and scores nothing; leave --{flag} out")
    place = place_for(flags.out, running.model if running.server is None else None)
    plan = running.plan(flags.benchmark(), flags.annotations)
    with ExitStack() as closing:
        folder = flags.out and flags.out / "calibration"
        if folder is None:
            folder = Path(closing.enter_context(TemporaryDirectory(prefix="oncue-")))
        prepare_folder(folder)
        found = calibrated(
            plan,
            running.spec(plan),
            folder,
            limit,
            running.calibrate_biases or BIASES,
            Progress,
            resume=running.resume,
        )
    return report_calibration(flags, found, place)


def _predictions_path(flags: RunningFlags) -> Path:
    """Where --run writes to; it can be written."""
    if flags.out is not None:
        prepare_folder(flags.out, files=("scores.json",))
    if flags.predictions is not None:
        prepare_folder(flags.predictions.parent, "give another --predictions")
        return flags.predictions
    if flags.out is None:
        raise ConfigError("say where --run writes to, with --out or --predictions")
    return flags.out / "predictions.jsonl"
