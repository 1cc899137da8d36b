"""How fast predictions are scored, and in how much memory: made-up ones for annotations of the size
of ProactiveVideoQA, with recorded judgements."""

from __future__ import annotations

import json
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.aio import completed
from oncue.eval.benchmarks.proactivevideoqa import ProactiveVideoQa
from oncue.eval.benchmarks.proactivevideoqa_card import SIZES
from oncue.eval.streams.predictions import PredictionFile
from oncue.eval.streams.result import StreamScores
from oncue.eval.streams.scoring import score_predictions
from oncue.scoring.graders import make_grader

NUM_REPLIES = 4_000
FEW, MANY = 10_000, 100_000  # replies whose memory is compared
NUM_STEPS = 3
_MIB = 2**20
_FILLED = 0.8  # of a slot of the video is the span of its gold turn

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MadeUp:
    """Files for one run of scoring."""

    annotations: tuple[Path, ...]
    predictions: Path
    judgements: Path

    @classmethod
    def write(cls, folder: Path, num_replies: int) -> MadeUp:
        """As many samples, gold turns and seconds as the benchmark has, and replies spread evenly
        over the gold turns."""
        made = cls(
            tuple(folder / name / "anno.json" for name in SIZES),
            folder / "said.jsonl",
            folder / "judged.jsonl",
        )
        rows = {name: list(_samples(name)) for name in SIZES}
        for path, name in zip(made.annotations, SIZES, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(rows[name]), encoding="utf-8")
        num_turns = sum(turns for _, turns, _ in SIZES.values())
        chance, number = random.Random(0), 0
        with made.predictions.open("w") as said, made.judgements.open("w") as judged:
            for row in (row for of_subset in rows.values() for row in of_subset):
                replies = []
                for index, answer in enumerate(row["answer"]):
                    start_s, end_s = answer["reply_timespan"]
                    num = _share_of(num_replies, num_turns, number)
                    number += 1
                    for k in range(num):
                        time_s = start_s + (end_s - start_s) * k / num
                        replies.append({"time": time_s, "text": f"Event {index}, detail {k}."})
                        about = {"question_id": row["question_id"], "answer_index": index}
                        level = {**about, "time": time_s, "level": chance.randint(1, 3)}
                        judged.write(json.dumps(level) + "\n")
                        if k:
                            new = {"time": time_s, "repeated": chance.random() < 0.1}
                            judged.write(json.dumps({**about, "kind": "repetition", **new}) + "\n")
                line = {"question_id": row["question_id"], "replies": replies}
                said.write(json.dumps(line) + "\n")
        return made

    def score(self) -> dict[str, Any]:
        """The numbers of the predictions, as `oncue eval proactivevideoqa` prints them."""
        benchmark = ProactiveVideoQa()
        items = benchmark.items(self.annotations)
        grader = make_grader(f"replay:{self.judgements}")
        predictions = PredictionFile.open(self.predictions)

        def on_item(item: Any, said: Any, _: object) -> None:
            due = [gold.span for gold in item.stream.due]
            grader.end_item(item.stream.item_id, due, said.replies)

        row = completed(
            score_predictions(benchmark, items, predictions, grader, "made up", on_item)
        )
        grader.end()
        return StreamScores(benchmark, row, (), {}, grader.name).headline()


def measure_scoring(step: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Seconds for as many replies as a model gives, by the clock and of a processor, and the most
    memory that few and many replies take; from annotation files to numbers with intervals."""
    with tempfile.TemporaryDirectory() as folder:
        made = MadeUp.write(Path(folder), NUM_REPLIES)
        started, started_cpu = time.perf_counter(), time.process_time()
        scored = made.score()
        seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        figures = {
            "n_items": scored["n_items"],
            "n_turns": scored["overall"]["n_turns"],
            "n_replies": scored["behaviour"]["n_replies"],
            "score_s": seconds,
            "score_cpu_s": cpu,
        }
    step()
    for num in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            figures[f"peak_mib_{num}_replies"] = peak_mib(MadeUp.write(Path(folder), num).score)
        step()
    return figures


def peak_mib(work: Callable[[], object]) -> float:
    """The most memory that Python's objects took during `work`, beyond what was there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / _MIB
    finally:
        tracemalloc.stop()


def _samples(subset: str) -> Iterator[Row]:
    """The rows of an annotation file."""
    num_samples, num_turns, duration_s = SIZES[subset]
    for number in range(num_samples):
        num = _share_of(num_turns, num_samples, number)
        slot_s = duration_s / num
        spans = [[k * slot_s, (k + _FILLED) * slot_s] for k in range(num)]
        yield {
            "video": f"{subset}_{number}.mp4",
            "question_id": f"{subset}={number}.mp4%Q0",
            "duration": duration_s,
            "conversation": [{"role": "user", "content": "What happens?", "time": 0}],
            "answer": [
                {
                    "role": "assistant",
                    "content": f"Event {k}.",
                    "related_timespan": [start_s, (start_s + end_s) / 2],
                    "reply_timespan": [start_s, end_s],
                }
                for k, (start_s, end_s) in enumerate(spans)
            ],
        }


def _share_of(total: int, num: int, number: int) -> int:
    """Of `total` things dealt out to `num`, how many the one with `number` gets."""
    return total // num + (number < total % num)
