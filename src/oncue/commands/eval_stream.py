"""What the commands of benchmarks of proactive models share: predictions in, scores out."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from oncue.commands.evaluating import report
from oncue.commands.judging import JudgeServer
from oncue.commands.progress import Progress
from oncue.errors import ConfigError
from oncue.files import prepare_folder, replacing

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import ItemScore, StreamBenchmark
    from oncue.eval.streams.predictions import Placed
    from oncue.eval.streams.scoring import Row
    from oncue.eval.streams.stream import Item, Prediction
    from oncue.scoring.grader import RunGrader


@dataclass(frozen=True)
class StreamFlags(ABC):
    """The flags of every benchmark of proactive models."""

    annotations: tuple[Path, ...]
    """The annotation files of the benchmark, as published."""

    predictions: Path | None = None
    """What a model said: JSON lines {"question_id", "replies": [{"time", "text"}]}."""

    format: Literal["oncue", "official", "vlmevalkit", "lmms-eval"] = "oncue"
    """The form of --predictions. official: that of the benchmark's own output files. vlmevalkit:
    its table as .tsv or .json. lmms-eval: its samples file."""

    judge: str | None = None
    """Who grades, where the benchmark needs that: lexical, openai:MODEL@URL, or replay:FILE."""

    record: Path | None = None
    """File for what the judge decided, in the format of replay:FILE."""

    judge_server: tyro.conf.OmitArgPrefixes[JudgeServer] = field(default_factory=JudgeServer)

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json."""

    @abstractmethod
    def benchmark(self) -> StreamBenchmark[Any]:
        """The benchmark, with its variants."""

    def run(self) -> int:
        """Read, score, report. Returns the exit code."""
        from oncue.aio import completed
        from oncue.eval.streams.result import StreamScores
        from oncue.eval.streams.scoring import score_blind

        if self.predictions is None:
            raise ConfigError("give the file of predictions with --predictions")
        if self.out is not None:
            prepare_folder(self.out, files=("scores.json",))
        benchmark = self.benchmark()
        grader = self._grader(benchmark)
        items = benchmark.items(self.annotations)
        predictions, protocol = self._read(benchmark, items, self.predictions)
        name = str(protocol.get("model", self.predictions.stem))
        with self._recorded(grader) as recorded:
            row = completed(self._score(benchmark, items, predictions, recorded, name))
        blind = tuple(
            completed(score_blind(benchmark, items, one, grader))
            for one in benchmark.blind_rows()
            if not one.needs_grader or self.judge == "lexical"
        )
        judge = None if grader is None else grader.name
        report(self, StreamScores(benchmark, row, blind, protocol, judge), {})
        return 0

    def _read(
        self, benchmark: StreamBenchmark[Any], items: Sequence[Item[Any]], path: Path
    ) -> tuple[Iterable[Placed], dict[str, Any]]:
        """The predictions, read as they are asked for, and their protocol."""
        from oncue.eval.streams.foreign import lmms_eval_predictions, vlmevalkit_predictions
        from oncue.eval.streams.predictions import PredictionFile

        if self.format == "official":
            return benchmark.official(path), {}
        if self.format == "vlmevalkit":
            return vlmevalkit_predictions(path, items), {}
        if self.format == "lmms-eval":
            return lmms_eval_predictions(path, items), {}
        predictions = PredictionFile.open(path)
        return predictions, dict(predictions.protocol)

    async def _score(
        self,
        benchmark: StreamBenchmark[Any],
        items: Sequence[Item[Any]],
        predictions: Iterable[Placed],
        grader: RunGrader | None,
        name: str,
    ) -> Row:
        """The score of the model, with progress, and with what grading has cost."""
        from oncue.eval.streams.scoring import score_predictions

        with Progress("scoring items", len(items)) as progress:

            def on_item(item: Item[Any], said: Prediction, _: ItemScore) -> None:
                if grader is not None:
                    due = [gold.span for gold in item.stream.due]
                    grader.end_item(item.stream.item_id, due, said.replies)
                progress.step()

            try:
                row = await score_predictions(
                    benchmark,
                    items,
                    predictions,
                    grader,
                    name,
                    on_item,
                    skip_unknown=self.format == "official" and benchmark.card.skips_unknown,
                )
            finally:
                if grader is not None:
                    await grader.aclose()
                    if cost := grader.cost():
                        print(cost, file=sys.stderr)
        if grader is not None:
            grader.end()
        return row

    def _grader(self, benchmark: StreamBenchmark[Any]) -> RunGrader | None:
        """Raises ConfigError where a judge is needed and not given, or given and not needed."""
        name = benchmark.card.name
        if not benchmark.needs_grader:
            for flag, value in (("--judge", self.judge), ("--record", self.record)):
                if value is not None:
                    raise ConfigError(f"{name} needs no judge; leave {flag} out")
            return None
        if self.judge is None:
            raise ConfigError(
                f"{name} needs a judge; give --judge lexical, openai:MODEL@URL or replay:FILE"
            )
        self._check_record(self.judge)
        return self.judge_server.grader(self.judge)

    def _check_record(self, judge: str) -> None:
        """Raises ConfigError where --record would take the place of what is read."""
        from oncue.scoring.grade_lines import PREFIX

        if self.record is None:
            return
        read = [*self.annotations, *([self.predictions] if self.predictions else [])]
        if judge.startswith(PREFIX):
            read.append(Path(judge.removeprefix(PREFIX)))
        if any(self.record.resolve() == path.resolve() for path in read):
            raise ConfigError(f"--record {self.record} is a file that is read; give another")

    @contextmanager
    def _recorded(self, grader: RunGrader | None) -> Iterator[RunGrader | None]:
        """The grader; with --record one that writes down what it decides."""
        from oncue.scoring.recorded_grades import RecordingGrader

        if grader is None or self.record is None:
            yield grader
            return
        prepare_folder(self.record.parent, "give another --record")
        with replacing(self.record) as path, path.open("w", encoding="utf-8") as file:
            yield RecordingGrader(grader, file)
