"""OmniMMI, proactive alerting (PA): one signal when an event happens, with the official numbers.

Annotations: a list of {"video", "question", "answer": [start, end]}, seconds. Official output: the
same rows with "pred", a list of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
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
from oncue.eval.streams.blind import every, once_after, silence
from oncue.eval.streams.predictions import official_lines
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent
from oncue.fields import items_of, span_of, text_of
from oncue.scoring.grader import Grader
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

SIGNAL = "Now."
_EXPECTED = 'a row of OmniMMI, {"video", "question", "answer": [start, end]}'

CARD = Card(
    name="omnimmi",
    title="OmniMMI proactive alerting",
    measures="whether the first reply to a standing request falls into the span of its event",
    data="omnimmi/proactive_alerting.json of OmniMMI/OmniMMI, and the videos of QVHighlights",
    licence="MIT (annotations)",
    source="OmniMMI, evaluations/evaluate.py @036d2ca",
    defects=(
        "IoU is that of the stretch from the first to the last reply, so one perfect reply has "
        "IoU 0.",
        "The first reply is the first in the order given, not the earliest.",
    ),
    published=(
        Published(
            "MOSS-VL-Realtime", {"accuracy": 66.0}, "as its authors state", "MOSS-VL model card"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class OmniMmi:
    """The benchmark. It needs no judge."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        return tuple(Headline(name, (name,)) for name in ("accuracy", "precision", "iou"))

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[TimeSpan]]:
        return [
            _item_of(row, where, number)
            for path in annotations
            for number, (where, row) in enumerate(official_lines(path, _EXPECTED))
        ]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        for number, (where, row) in enumerate(official_lines(path, _EXPECTED)):
            times = items_of(row, "pred", where)
            if not all(isinstance(time_s, int | float) for time_s in times):
                raise DataError(f"{where}: 'pred' must be a list of seconds, got {times!r:.80}")
            replies = tuple(TimedReply(float(time_s), SIGNAL) for time_s in times)
            yield where, Prediction(_item_of(row, where, number).stream.item_id, replies)

    async def score(
        self,
        item: Item[TimeSpan],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - timing alone
    ) -> ItemScore:
        gold, times = item.gold, [reply.time_s for reply in said.replies]
        inside = [time_s in gold for time_s in times]
        terms = {
            "n": 1.0,
            "accuracy": float(bool(inside) and inside[0]),
            "precision": sum(inside) / len(inside) if inside else 0.0,
            "iou": _iou(min(times), max(times), gold) if times else 0.0,
        }
        marks = tuple(
            Mark(reply, "in the span" if hit else "outside")
            for reply, hit in zip(said.replies, inside, strict=True)
        )
        return ItemScore(terms, marks, terms["accuracy"])

    def figures(self, sums: BySubset) -> Figures:
        total = sums.get("", {"n": 0.0})
        num = total["n"]
        shares = {
            name: percent(total[name] / num) if num else None
            for name in ("accuracy", "precision", "iou")
        }
        return {"n": round(num), **shares}

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        return silence(), once_after(0.0, SIGNAL), every(1.0, SIGNAL)


def _item_of(row: Any, where: str, number: int) -> Item[TimeSpan]:
    span = span_of(row, "answer", where)
    question, video = text_of(row, "question", where), text_of(row, "video", where)
    stream = Stream(f"{number}:{video}", video, (Question(question),), (GoldTurn(question, span),))
    return Item(stream, span)


def _iou(first_s: float, last_s: float, gold: TimeSpan) -> float:
    both = min(last_s, gold.end_s) - max(first_s, gold.start_s)
    either = max(last_s, gold.end_s) - min(first_s, gold.start_s)
    return max(0.0, both) / either if either > 0 else 0.0
