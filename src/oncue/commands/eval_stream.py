"""What the commands of benchmarks of proactive models share: predictions in, or a policy to be run,
scores out."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

from oncue.commands.evaluating import report
from oncue.commands.judging import JudgeServer
from oncue.commands.progress import Progress
from oncue.commands.stream_run_flags import RunFlags
from oncue.commands.stream_running import run_policy
from oncue.errors import ConfigError
from oncue.files import prepare_folder, replacing, write_text

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import ItemScore, StreamBenchmark
    from oncue.eval.streams.curve import CurvePoint
    from oncue.eval.streams.item_lines import OnItem
    from oncue.eval.streams.predictions import Placed, PredictionFile
    from oncue.eval.streams.result import StreamScores
    from oncue.eval.streams.scoring import Row
    from oncue.eval.streams.stream import Item, Prediction
    from oncue.scoring.grader import RunGrader


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
    """Folder for scores.json, items.jsonl, which `oncue eval compare` reads, index.html, the page
    of the run, and, with --run, predictions.jsonl."""

    curve: Path | None = None
    """A calibration.json: detection against false alarms by reply bias, for the page in --out."""

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
        """The scores of --predictions; items.jsonl and the page are then in --out."""
        from oncue.aio import completed
        from oncue.eval.streams.item_lines import writing_items
        from oncue.eval.streams.result import StreamScores
        from oncue.eval.streams.scoring import items_of, items_run, score_blind
        from oncue.eval.streams.stream_page import to_page

        if self.predictions is None:
            raise ConfigError(
                "give the file of predictions with --predictions, or make one with --run"
            )
        if self.out is not None:
            prepare_folder(self.out, files=("scores.json", "items.jsonl", "index.html"))
        benchmark, curve = self.benchmark(), self._curve()
        grader = self._grader(benchmark)
        items = items_of(benchmark, self.annotations)
        predictions, file = self._read(benchmark, items, self.predictions)
        items = items_run(file, items)
        with self._recorded(grader) as recorded, writing_items(self.out) as write:
            row = completed(self._score(benchmark, items, predictions, recorded, file.name, write))
        blind = tuple(
            completed(score_blind(benchmark, items, one, grader))
            for one in benchmark.blind_rows()
            if not one.needs_grader or self.judge == "lexical"
        )
        judge = None if grader is None else grader.name
        scores = StreamScores(benchmark, row, blind, file.protocol, judge, file.num_left_out)
        if self.out is not None:
            write_text(self.out / "index.html", to_page(scores, curve))
        return scores

    def of_file(self, path: Path, out: Path | None) -> Self:
        """The command that scores a file of predictions into the folder `out`."""
        return replace(self, run_policy=False, running=RunFlags(), predictions=path, out=out)

    def check_scoring(self) -> None:
        """Raises InputError for what is wrong with the judge or the curve: to be said before hours
        of watching."""
        self._grader(self.benchmark())
        self._curve()

    def _read(
        self, benchmark: StreamBenchmark[Any], items: Sequence[Item[Any]], path: Path
    ) -> tuple[Iterable[Placed], PredictionFile]:
        """The predictions, read as they are asked for, and what their file says of them."""
        from oncue.eval.streams.foreign import lmms_eval_predictions, vlmevalkit_predictions
        from oncue.eval.streams.predictions import PredictionFile

        if self.format == "official":
            return benchmark.official(path), PredictionFile(path)
        if self.format == "vlmevalkit":
            return vlmevalkit_predictions(path, items), PredictionFile(path)
        if self.format == "lmms-eval":
            return lmms_eval_predictions(path, items), PredictionFile(path)
        file = PredictionFile.open(path)
        return file, file

    async def _score(
        self,
        benchmark: StreamBenchmark[Any],
        items: Sequence[Item[Any]],
        predictions: Iterable[Placed],
        grader: RunGrader | None,
        name: str,
        write: OnItem,
    ) -> Row:
        """The score of the model, with progress, and with what grading has cost."""
        from oncue.eval.streams.scoring import score_predictions

        with Progress("scoring items", len(items)) as progress:

            def on_item(item: Item[Any], said: Prediction, score: ItemScore) -> None:
                write(item, said, score)
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

    def _curve(self) -> tuple[CurvePoint, ...]:
        """What --curve holds."""
        from oncue.eval.streams.curve import read_curve

        if self.curve is None:
            return ()
        if self.out is None:
            raise ConfigError("--curve is for the page that --out gets; give --out, too")
        return read_curve(self.curve)

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
        with (
            replacing(self.record) as path,
            path.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            yield RecordingGrader(grader, file)
