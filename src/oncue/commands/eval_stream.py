"""What the commands of benchmarks of proactive models share: predictions in, scores out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from oncue.commands.evaluating import report
from oncue.commands.judging import JudgeServer
from oncue.errors import ConfigError
from oncue.files import prepare_folder, write_text

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark
    from oncue.eval.streams.curve import DetectionPoint
    from oncue.scoring.grader import Grader


@dataclass(frozen=True)
class StreamFlags(ABC):
    """The flags of every benchmark of proactive models."""

    annotations: tuple[Path, ...]
    """The annotation files of the benchmark, as published."""

    predictions: Path | None = None
    """What a model said: JSON lines {"question_id", "replies": [{"time", "text"}]}."""

    format: Literal["oncue", "official"] = "oncue"
    """The form of --predictions. official: that of the benchmark's own output files."""

    judge: str | None = None
    """Who grades, where the benchmark needs that: lexical, openai:MODEL@URL, or replay:FILE."""

    judge_server: tyro.conf.OmitArgPrefixes[JudgeServer] = field(default_factory=JudgeServer)

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json, items.jsonl, which `oncue eval compare` reads, and index.html, the
    page of the run."""

    curve: Path | None = None
    """A calibration.json: detection against false alarms by reply bias, for the page in --out."""

    @abstractmethod
    def benchmark(self) -> StreamBenchmark[Any]:
        """The benchmark, with its variants."""

    def run(self) -> int:
        """Read, score, report. Returns the exit code."""
        from oncue.aio import completed
        from oncue.eval.streams.item_lines import writing_items
        from oncue.eval.streams.predictions import PredictionFile
        from oncue.eval.streams.result import StreamScores
        from oncue.eval.streams.scoring import score_blind, score_predictions
        from oncue.eval.streams.stream_page import to_page

        if self.predictions is None:
            raise ConfigError("give the file of predictions with --predictions")
        curve = self._curve()
        if self.out is not None:
            prepare_folder(self.out, files=("scores.json", "items.jsonl", "index.html"))
        benchmark = self.benchmark()
        items = benchmark.items(self.annotations)
        protocol = {}
        predictions: Any
        if self.format == "official":
            predictions = benchmark.official(self.predictions)
        else:
            predictions = PredictionFile.open(self.predictions)
            protocol = dict(predictions.protocol)
        grader = self._grader(benchmark)
        name = str(protocol.get("model", self.predictions.stem))
        with writing_items(self.out) as on_item:
            row = completed(score_predictions(benchmark, items, predictions, grader, name, on_item))
        blind = tuple(
            completed(score_blind(benchmark, items, one, grader))
            for one in benchmark.blind_rows()
            if not one.needs_grader or self.judge == "lexical"
        )
        judge = None if grader is None else grader.name
        scores = StreamScores(benchmark, row, blind, protocol, judge)
        if self.out is not None:
            write_text(self.out / "index.html", to_page(scores, curve))
        report(self, scores, {})
        return 0

    def _curve(self) -> tuple[DetectionPoint, ...]:
        """What --curve holds."""
        from oncue.eval.streams.curve import read_curve

        if self.curve is None:
            return ()
        if self.out is None:
            raise ConfigError("--curve is for the page that --out gets; give --out, too")
        return read_curve(self.curve)

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
