"""What the commands of benchmarks of proactive models share: predictions in, or a policy to be run,
scores out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

from oncue.commands.evaluating import report
from oncue.commands.judging import JudgeServer
from oncue.commands.stream_run_flags import RunFlags
from oncue.commands.stream_running import run_policy
from oncue.errors import ConfigError
from oncue.files import prepare_folder

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark
    from oncue.eval.streams.result import StreamScores
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
            return run_policy(self)
        self.running.check_unused()
        report(self, self.scores(), {})
        return 0

    def scores(self) -> StreamScores:
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

    def of_file(self, path: Path) -> Self:
        """The command that scores a file of predictions."""
        return replace(self, run_policy=False, running=RunFlags(), predictions=path)

    def check_judge(self) -> None:
        """Raises ConfigError for what is wrong with the judge: to be said before hours of
        watching."""
        self._grader(self.benchmark())

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
