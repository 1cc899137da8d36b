"""What the commands of benchmarks of proactive models share: predictions in, or a policy to be run,
scores out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

from oncue.commands.calibrating import report_calibration
from oncue.commands.evaluating import report
from oncue.commands.judging import JudgeServer
from oncue.commands.progress import Progress
from oncue.commands.stream_running import RunFlags
from oncue.errors import ConfigError
from oncue.files import prepare_folder

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark
    from oncue.eval.streams.result import StreamScores
    from oncue.eval.streams.running import StreamRun
    from oncue.policy.open_policy import PolicySpec
    from oncue.scoring.grader import Grader


@dataclass(frozen=True)
class StreamFlags(ABC):
    """The flags of every benchmark of proactive models."""

    annotations: tuple[Path, ...]
    """The annotation files of the benchmark, as published."""

    predictions: Path | None = None
    """What a model said: JSON lines {"question_id", "replies": [{"time", "text"}]}. With --run:
    where that is written, by default predictions.jsonl in --out."""

    run_policy: Annotated[bool, tyro.conf.arg(name="run")] = False
    """Run a policy on the videos, write what it says, and score that."""

    format: Literal["oncue", "official"] = "oncue"
    """The form of --predictions. official: that of the benchmark's own output files."""

    judge: str | None = None
    """Who grades, where the benchmark needs that: lexical, openai:MODEL@URL, or replay:FILE."""

    judge_server: tyro.conf.OmitArgPrefixes[JudgeServer] = field(default_factory=JudgeServer)

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json and, with --run, predictions.jsonl."""

    running: tyro.conf.OmitArgPrefixes[RunFlags] = field(default_factory=RunFlags)

    @abstractmethod
    def benchmark(self) -> StreamBenchmark[Any]:
        """The benchmark, with its variants."""

    def run(self) -> int:
        """Read, run where asked to, score, report. Returns the exit code."""
        if self.run_policy:
            return self._run_policy()
        self.running.check_unused()
        report(self, self._scores(), {})
        return 0

    def _scores(self) -> StreamScores:
        """The scores of --predictions."""
        from oncue.aio import completed
        from oncue.eval.streams.predictions import PredictionFile
        from oncue.eval.streams.result import StreamScores
        from oncue.eval.streams.scoring import items_run, score_blind, score_predictions

        if self.predictions is None:
            raise ConfigError(
                "give the file of predictions with --predictions, or make one with --run"
            )
        if self.out is not None:
            prepare_folder(self.out, files=("scores.json",))
        benchmark = self.benchmark()
        items = benchmark.items(self.annotations)
        file = PredictionFile(self.predictions)
        predictions: Any
        if self.format == "official":
            predictions = benchmark.official(self.predictions)
        else:
            predictions = file = PredictionFile.open(self.predictions)
            items = items_run(file, items)
        grader = self._grader(benchmark)
        row = completed(score_predictions(benchmark, items, predictions, grader, file.name))
        blind = tuple(
            completed(score_blind(benchmark, items, one, grader))
            for one in benchmark.blind_rows()
            if not one.needs_grader or self.judge == "lexical"
        )
        judge = None if grader is None else grader.name
        return StreamScores(benchmark, row, blind, file.protocol, judge, file.num_left_out)

    def _run_policy(self) -> int:
        """Run, and then score what was written as any other file of predictions.

        Raises ConfigError for flags that contradict each other, before anything is read.
        """
        from oncue.eval.streams.running import predict

        running = self.running
        if self.format != "oncue":
            raise ConfigError("--run writes predictions in our own form; leave --format out")
        running.check()
        benchmark = self.benchmark()
        if running.calibrate_false_per_hour is not None:
            return self._calibrate(benchmark, running.calibrate_false_per_hour)
        self._grader(benchmark)  # what is wrong with the judge is said before hours of watching
        path = self._predictions_path()
        plan = running.plan(benchmark, self.annotations)
        spec = running.spec(plan)
        if running.thresholds:
            return self._sweep(plan, spec, path)
        predict(plan, spec, path, Progress, resume=running.resume)
        return self._of_file(path).run()

    def _of_file(self, path: Path) -> Self:
        """The command that scores a file of predictions."""
        return replace(self, run_policy=False, running=RunFlags(), predictions=path)

    def _sweep(self, plan: StreamRun, spec: PolicySpec, path: Path) -> int:
        """A run for each threshold, in a file of its own beside `path`."""
        from oncue.eval.streams.policies import loaded_once
        from oncue.eval.streams.running import predict
        from oncue.eval.streams.sweep import Sweep

        spec = loaded_once(spec)
        scores = []
        for threshold in self.running.thresholds:
            run = replace(plan, contender=self.running.contender_at(threshold))
            place = path.with_stem(f"{path.stem}_threshold_{threshold:g}")
            predict(run, spec, place, Progress, resume=self.running.resume)
            scores.append(self._of_file(place)._scores())
        report(self, Sweep(tuple(scores)), {})
        return 0

    def _calibrate(self, benchmark: StreamBenchmark[Any], limit: float) -> int:
        """Returns 1 where no bias keeps to `limit`."""
        from oncue.eval.streams.calibration import BIASES, place_for
        from oncue.eval.streams.calibration_runs import calibrated

        running = self.running
        if self.predictions is not None:
            raise ConfigError(
                "calibrating writes predictions for each bias; leave --predictions out"
            )
        place = place_for(self.out, running.model if running.server is None else None)
        plan = running.plan(benchmark, self.annotations)
        with ExitStack() as closing:
            folder = self.out and self.out / "calibration"
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
        return report_calibration(self, found, place)

    def _predictions_path(self) -> Path:
        """Where --run writes to; it can be written."""
        if self.out is not None:
            prepare_folder(self.out, files=("scores.json",))
        if self.predictions is not None:
            prepare_folder(self.predictions.parent, "give another --predictions")
            return self.predictions
        if self.out is None:
            raise ConfigError("say where --run writes to, with --out or --predictions")
        return self.out / "predictions.jsonl"

    def _grader(self, benchmark: StreamBenchmark[Any]) -> Grader | None:
        """Raises ConfigError where a judge is needed and not given, or given and not needed."""
        from oncue.scoring.graders import make_grader

        name = benchmark.card.name
        if not benchmark.needs_grader:
            if self.judge is not None:
                raise ConfigError(f"{name} needs no judge; leave --judge out")
            return None
        if self.judge is None:
            raise ConfigError(
                f"{name} needs a judge; give --judge lexical, openai:MODEL@URL or replay:FILE"
            )
        return make_grader(self.judge)
