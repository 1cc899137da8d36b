"""An invented benchmark of proactive models, and runs of it: a tone is due, and each reply in its
span is right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncue.eval.streams.benchmark import (
    BlindRow,
    BySubset,
    Card,
    Figures,
    Headline,
    ItemScore,
    Mark,
    Published,
)
from oncue.eval.streams.blind import every, silence
from oncue.eval.streams.item_lines import writing_items
from oncue.eval.streams.result import StreamScores
from oncue.eval.streams.scoring import score_blind, score_predictions
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent
from oncue.files import write_json
from oncue.scoring.grader import Grader
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

CARD = Card(
    "tones",
    "Tones",
    "whether a tone is heard",
    "tones.json",
    "CC0",
    "nobody",
    ("It is invented.",),
    (
        Published(
            "Somebody", {"found": 77.5, "echoes": 3.25}, "judge B, 4 fps, 245 of 250", "a paper"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Tones:
    """The benchmark."""

    which: Literal["first", "any"] = "any"
    """Which reply counts."""

    slack_s: float = 0.0
    """How late a reply
    may be."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        return Headline("found", ("found",)), Headline("right", ("right",))

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[None]]:  # noqa: ARG002
        return ITEMS

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        raise NotImplementedError

    async def score(self, item: Item[None], said: Prediction, grader: Grader | None) -> ItemScore:  # noqa: ARG002
        (gold,) = item.stream.due
        inside = [reply.time_s in gold.span for reply in said.replies]
        terms = {"n": 1.0, "found": float(any(inside)), "said": len(inside) + 0.0}
        marks = [
            Mark(reply, "right" if hit else "in no span")
            for reply, hit in zip(said.replies, inside, strict=True)
        ]
        return ItemScore({**terms, "right": sum(inside) + 0.0}, tuple(marks), terms["found"])

    def figures(self, sums: BySubset) -> Figures:
        total: dict[str, float] = {}
        for terms in sums.values():
            for name, value in terms.items():
                total[name] = total.get(name, 0.0) + value
        said = total.get("said")
        return {
            "found": percent(total["found"] / total["n"]),
            "right": percent(total["right"] / said) if said else None,
        }

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        return silence(), every(4.0, "Beep.")


def item(number: int, question: str = "Tell me of tones.") -> Item[None]:
    """Two items to a video, two subsets."""
    stream = Stream(
        f"t{number}",
        f"v{number // 2}.mp4",
        (Question(question),),
        (GoldTurn("a tone", TimeSpan(5.0, 8.0)),),
        end_s=20.0,
        subset="low" if number % 2 else "high",
    )
    return Item(stream, None)


ITEMS = tuple(map(item, range(12)))


def said(times: Sequence[Sequence[float]], text: str = "A tone.") -> list[tuple[str, Prediction]]:
    """Predictions of the first items: the times of the replies of each."""
    return [
        (f"line {n}", Prediction(f"t{n}", tuple(TimedReply(t, text) for t in each), 20.0, 20, 18))
        for n, each in enumerate(times)
    ]


def scored(
    predictions: Sequence[tuple[str, Prediction]],
    folder: Path | None = None,
    *,
    items: Sequence[Item[None]] = ITEMS,
    benchmark: Tones = Tones(),
    judge: str | None = None,
    name: str = "tuner",
    protocol: dict[str, Any] | None = None,
) -> StreamScores:
    """The scores of a run, its files in `folder`."""

    async def run() -> StreamScores:
        with writing_items(folder) as on_item:
            row = await score_predictions(benchmark, items, predictions, None, name, on_item)
        blind = [await score_blind(benchmark, items, b, None) for b in benchmark.blind_rows()]
        given = {"model": name, "fps": 1} if protocol is None else protocol
        return StreamScores(benchmark, row, tuple(blind), given, judge)

    scores = asyncio.run(run())
    if folder is not None:
        write_json(folder / "scores.json", scores.numbers())
    return scores
