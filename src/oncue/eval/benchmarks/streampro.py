"""StreamPro-Bench, F1 as the paper describes it: no code was released.

Each answer due opens a window around its time. A reply in a window scores its timing (1 at best)
times its content (0 to 1). An answer keeps the best score S of its window; precision is the sum of
S over all replies, recall the sum of S over all answers due.

Annotations: see `streampro_items`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncue.errors import ConfigError
from oncue.eval.benchmarks.streampro_items import TIMINGS, Gold, Timing, read_items, window_of
from oncue.eval.streams.benchmark import (
    BlindRow,
    BySubset,
    Card,
    Figures,
    Headline,
    ItemScore,
    Mark,
    Published,
    Terms,
)
from oncue.eval.streams.blind import every, silence
from oncue.eval.streams.ratios import f1_of, pooled_terms, ratio, ungraded
from oncue.eval.streams.stream import Item, Prediction
from oncue.eval.table import percent
from oncue.scoring.grader import GradeKey, Grader, Rubric
from oncue.scoring.score import Unscored
from oncue.types import TimedReply, TimeSpan

SIGNAL = "Now."
CONTENT = Rubric(
    "streampro",
    0,
    10,
    "Someone watches a video and has asked an assistant to speak at certain moments. Compare what "
    "it said with what was due. 10: all of it, correctly. 5: half of it, or with a clear mistake. "
    "0: nothing of it, or something else.",
)

CARD = Card(
    name="streampro",
    title="StreamPro-Bench (F1 by the paper's text; no code was released)",
    measures="whether replies with the right content come in time, in seven kinds of task",
    data="no release found (577 videos, 1,285 questions); rows in a form of our own are read",
    licence="none stated",
    source="StreamPro (arXiv 2605.16381), by its text: our reading, not compared with any scorer",
    defects=(
        "No code was released, so these numbers cannot be compared with published ones.",
        "Not in the text, so chosen here: content is graded from 0 to 10; F1 is the mean over "
        "questions (the pooled one is given, too); a span is read from the first two numbers of a "
        "reply.",
        "Further replies in a window lower precision even if they are right.",
    ),
    published=tuple(
        Published(who, {"F1": f1}, "the authors' scorer, judge not stated here", "StreamPro paper")
        for who, f1 in (("StreamPro-4B", 41.5), ("Streamo", 10.4), ("MMDuet2", 5.9))
    ),
)


@dataclass(frozen=True, slots=True)
class StreamPro:
    """How StreamPro-Bench is scored, by the text of its paper."""

    grading: Literal["judge", "none"] = "judge"
    """Who grades content. judge: --judge; stretches of video are compared without one. none: every
    content is right, so that timing alone counts."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"F1": "f1", "pooled F1": "pooled_f1", "pooled precision": "pooled_precision"}
        names |= {"pooled recall": "pooled_recall"}
        return tuple(Headline(name, ("overall", key)) for name, key in names.items())

    @property
    def needs_grader(self) -> bool:
        return self.grading == "judge"

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        return read_items(annotations)

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        raise ConfigError(
            f"{path}: streampro has no official output format; give JSON lines {{question_id, "
            "replies}} and leave --format out"
        )

    async def score(self, item: Item[Gold], said: Prediction, grader: Grader | None) -> ItemScore:
        timing, due = TIMINGS[item.gold.task], item.gold.due
        best, num_unscored, marks = [0.0] * len(due), 0, []
        for reply in sorted(said.replies, key=lambda r: r.time_s):
            number = next(
                (n for n, d in enumerate(due) if reply.time_s in window_of(d, timing)), None
            )
            if number is None:
                marks.append(Mark(reply, "in no window"))
                continue
            content = await self._content(item, number, reply, grader)
            if isinstance(content, Unscored):
                num_unscored += 1
                marks.append(Mark(reply, "unscored"))
                continue
            earned = timeliness(reply.time_s, due[number].span, timing) * content
            best[number] = max(best[number], earned)
            marks.append(Mark(reply, f"earned {earned:.2f}"))
        terms = {
            "n": 1.0,
            "sum_s": sum(best),
            "num_due": float(len(due)),
            "num_replies": float(len(said.replies)),
            "num_unscored": float(num_unscored),
        }
        f1 = _f1(terms)
        return ItemScore({**terms, "f1": f1}, tuple(marks), f1)

    def figures(self, sums: BySubset) -> Figures:
        return {
            "overall": _figures_of(pooled_terms(sums)),
            "subsets": {task: _figures_of(sums[task]) for task in TIMINGS if task in sums},
        }

    def remarks(self, figures: Figures) -> list[str]:
        """How many replies could not be graded."""
        return ungraded(figures["overall"].get("num_unscored", 0))

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        judged = self.needs_grader
        rows = (every(step_s, SIGNAL, needs_grader=judged) for step_s in (1.0, 5.0))
        return (silence(), *rows)

    async def _content(
        self, item: Item[Gold], number: int, reply: TimedReply, grader: Grader | None
    ) -> float | Unscored:
        """How right a reply is, 0 to 1."""
        due = item.gold.due[number]
        if grader is None:
            return 1.0
        if due.stretch is not None:
            return overlap_of(due.stretch, reply.text)
        key = GradeKey(item.stream.item_id, number, reply.time_s)
        asked = item.stream.questions[0].text
        grade = await grader.grade(CONTENT, key, asked, due.content, reply.text)
        return grade if isinstance(grade, Unscored) else grade / CONTENT.highest


def timeliness(time_s: float, span: TimeSpan, timing: Timing) -> float:
    """The timing of a reply in the window of `span`: 1 in the span, less by distance from it."""
    early_s, late_s = span.start_s - time_s, time_s - span.end_s
    if early_s > 0:
        return max(0.0, 1 - early_s / timing.early_tau_s)
    return max(0.0, 1 - late_s / timing.late_tau_s) if late_s > 0 else 1.0


def overlap_of(stretch: TimeSpan, text: str) -> float:
    """Intersection over union of `stretch` and the first two numbers of a reply, in seconds; 0
    where it has not two."""
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)[:2]]
    if len(numbers) < 2:
        return 0.0
    start_s, end_s = sorted(numbers)
    both = min(end_s, stretch.end_s) - max(start_s, stretch.start_s)
    either = max(end_s, stretch.end_s) - min(start_s, stretch.start_s)
    return ratio(max(0.0, both), either)


def _f1(terms: Terms) -> float:
    precision = ratio(terms["sum_s"], terms["num_replies"])
    return f1_of(precision, ratio(terms["sum_s"], terms["num_due"]))


def _figures_of(terms: Terms) -> Figures:
    if not terms.get("n"):
        return {"n": 0, "f1": None}
    return {
        "n": round(terms["n"]),
        "f1": percent(terms["f1"] / terms["n"]),
        "pooled_f1": percent(_f1(terms)),
        "pooled_precision": percent(ratio(terms["sum_s"], terms["num_replies"])),
        "pooled_recall": percent(ratio(terms["sum_s"], terms["num_due"])),
        **{name: round(terms[name]) for name in ("num_due", "num_replies", "num_unscored")},
    }
