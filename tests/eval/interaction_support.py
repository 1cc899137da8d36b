"""Scoring invented predictions of a benchmark, with a grader that knows its grades."""

# ruff: noqa: ARG002 - a grader has these arguments
from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncue.eval.streams.benchmark import BySubset, StreamBenchmark
from oncue.eval.streams.scoring import Row, score_blind, score_predictions
from oncue.eval.streams.stream import Item, Prediction
from oncue.scoring.grader import GradeKey, Rubric
from oncue.scoring.score import Unscored
from oncue.types import TimedReply

Said = Sequence[tuple[float, str]]


@dataclass
class KnownGrades:
    """A grader that gives each reply the grade written down for its text, and `default` to others
    (None: unscored). Without any grades, the gold text is best and anything else worst."""

    grades: Mapping[str, int] | None = None
    default: int | None = None
    name: str = "known"
    asked: list[tuple[Rubric, GradeKey, str, str]] = field(default_factory=list)

    async def grade(
        self, rubric: Rubric, key: GradeKey, question: str, gold: str, said: str
    ) -> int | Unscored:
        self.asked.append((rubric, key, gold, said))
        if self.grades is None:
            return rubric.highest if said == gold else rubric.lowest
        mark = self.grades.get(said, self.default)
        return Unscored("not written down") if mark is None else mark

    async def repeats(
        self, key: GradeKey, previous: tuple[str, ...], new: str
    ) -> bool | Unscored | None:
        return None


def said_to(item_id: str, *replies: tuple[float, str]) -> Prediction:
    return Prediction(item_id, tuple(TimedReply(t, text) for t, text in replies))


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def terms_of(
    benchmark: StreamBenchmark[Any],
    item: Item[Any],
    *replies: tuple[float, str],
    grader: Any = None,
) -> Mapping[str, float]:
    said = said_to(item.stream.item_id, *replies)
    return asyncio.run(benchmark.score(item, said, grader)).terms


def figures_of(
    benchmark: StreamBenchmark[Any],
    item: Item[Any],
    *replies: tuple[float, str],
    grader: Any = None,
) -> Mapping[str, Any]:
    """The figures of a benchmark of this one item."""
    sums: BySubset = {
        item.stream.subset: terms_of(benchmark, item, *replies, grader=grader),
    }
    return benchmark.figures(sums)


def row_of(
    benchmark: StreamBenchmark[Any],
    items: Sequence[Item[Any]],
    said: Sequence[Prediction],
    grader: Any = None,
    **options: bool,
) -> Row:
    placed = [(f"line {number}", one) for number, one in enumerate(said, 1)]
    return asyncio.run(score_predictions(benchmark, items, placed, grader, "model", **options))


def blind_figures(
    benchmark: StreamBenchmark[Any], items: Sequence[Item[Any]], grader: Any = None
) -> dict[str, Any]:
    return {
        row.name: asyncio.run(score_blind(benchmark, items, row, grader)).figures
        for row in benchmark.blind_rows()
    }
