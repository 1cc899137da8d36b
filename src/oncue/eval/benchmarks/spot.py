"""SPOT-Bench: how timely replies are, in six tasks.

Each thing due opens a slot around its time. A reply in or near a slot, with the right meaning,
fills it with its timeliness T, 1 inside and less outside; a slot takes K replies and keeps its best
T. T-score is the mean T of slots, T-F1 weighs precision and recall by T. Files: see `spot_items`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncue.eval.benchmarks.spot_items import (
    TIMINGS,
    Gold,
    Slot,
    Timing,
    by_task,
    read_items,
    read_results,
    replies_with_gold,
)
from oncue.eval.benchmarks.spot_meaning import KEYWORD_TASKS, MEANINGS, is_detected, is_silent
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
from oncue.eval.streams.blind import silence
from oncue.eval.streams.ratios import f1_of, pooled_terms, ratio, ungraded
from oncue.eval.streams.stream import Item, Prediction
from oncue.eval.table import percent
from oncue.scoring.grader import GradeKey, Grader
from oncue.scoring.score import Unscored
from oncue.setting_checks import require_at_least_one
from oncue.types import TimedReply

LEAST_T = 0.05  # of a reply that may fill a slot
CARD = Card(
    name="spot",
    title="SPOT-Bench",
    measures="whether a reply with the right meaning comes at the right moment, in six tasks: "
    "boundaries of actions, points of no return, questions, guidance, and two of intervention",
    data="abd.json, pnr.json, sqa.json, spg.json, si.json, ui.json and videos of "
    "cvml-nus/spot-bench on Hugging Face (abd 322 and pnr 286 videos; the others 13 to 15, "
    "validation alone)",
    licence="MIT (code)",
    source="SPOT-Bench (arXiv 2604.24317), dibschat/SPOT-Bench evals @035eea2",
    defects=(
        "A slot takes up to five replies and keeps the best, so a model that speaks in every "
        "second has T-score 100 with the right texts.",
        "One reply may fill several slots.",
        "Replies to a question to which nothing is due are dropped, not false; T-F1 corrected "
        "counts them as false, and videos without results as silence.",
        "Videos without results are not counted.",
        "A reply whose judgement failed does not match.",
        "The scorer's overall pools all slots, so the two large tasks decide it; the README's is "
        "the mean of six tasks. Both are given, by these names.",
    ),
    published=tuple(
        Published(
            who,
            {"T-score": score, "T-F1": f1},
            "K = 5, mean of six tasks, judge gpt-5-mini",
            "README of SPOT-Bench",
        )
        for who, score, f1 in (
            ("JoyAI-VL", 17.4, 9.7),
            ("MMDuet2, cache flushed", 9.9, 5.9),
            ("StreamingVLM", 12.2, 2.3),
            ("Qwen3-VL-8B", 15.4, 4.2),
        )
    ),
    missing="are not counted, as in the official scorer; T-F1 corrected counts them as silence",
    skips_unknown=True,
)


@dataclass(frozen=True, slots=True)
class Spot:
    """How SPOT-Bench is scored."""

    grading: Literal["judge", "keywords", "none"] = "judge"
    """How meaning is checked. judge: by keywords in abd and pnr, by --judge in the other tasks.
    keywords: abd and pnr alone; the other tasks are left out. none: every text is right."""

    occupancy_k: int = 5
    """How many replies a slot takes (K)."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"T-F1": "t_f1", "T-score": "t_score", "T-F1@1": "t_f1_at_1"}
        names |= {"T-F1 corrected": "t_f1_corrected"}
        means = (Headline(name, ("mean_of_tasks", key)) for name, key in names.items())
        return (*means, Headline("pooled T-F1", ("pooled", "t_f1")))

    @property
    def needs_grader(self) -> bool:
        return self.grading == "judge"

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        require_at_least_one(self, "occupancy_k")
        return read_items(annotations)

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        """A result file named after its task, or a folder of them."""
        yield from read_results(path)

    async def score(self, item: Item[Gold], said: Prediction, grader: Grader | None) -> ItemScore:
        task, slots = item.gold.task, item.gold.slots
        if self.grading == "keywords" and task not in KEYWORD_TASKS:
            return ItemScore({})
        if said.is_missing:
            return ItemScore({"n_missing": 1.0, "slots_missing": float(len(slots))})
        replies = replies_with_gold(item, said)
        reader = _Reader(item, grader, check=self.grading != "none")
        filled = await asyncio.gather(
            *(
                _fill(reader, number, slot, replies, self.occupancy_k)
                for number, slot in enumerate(slots)
            )
        )
        num_spoken = sum(not is_silent(reply.text) for reply in said.replies)
        terms = {
            "n": 1.0,
            "slots": float(len(slots)),
            "num_dropped": float(num_spoken - len(replies)),
            "num_unscored": float(reader.num_unscored),
            **_terms_of(filled, len(replies), ""),
            **_terms_of([fits[:1] for fits in filled], len(replies), "_at_1"),
        }
        used = {number for fits in filled for number, _ in fits}
        marks = tuple(
            Mark(reply, "fills a slot" if number in used else "fills none")
            for number, reply in enumerate(replies)
        )
        return ItemScore(terms, marks, _figures_of(terms)["t_f1"] / 100 if slots else None)

    def figures(self, sums: BySubset) -> Figures:
        tasks = {task: _figures_of(sums[task]) for task in by_task(sums) if sums[task].get("slots")}
        names = ("t_f1", "t_score", "t_f1_at_1", "t_f1_corrected")
        known = [_shares(sums[task]) for task in tasks]
        return {
            "mean_of_tasks": {
                **{
                    name: percent(sum(k[name] for k in known) / len(known)) if known else None
                    for name in names
                },
                "n_tasks": len(tasks),
            },
            "pooled": _figures_of(pooled_terms({task: sums[task] for task in tasks})),
            "subsets": tasks,
        }

    def remarks(self, figures: Figures) -> list[str]:
        """How many replies could not be graded."""
        return ungraded(figures["pooled"].get("num_unscored", 0))

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        name = "every 1 s to the last slot, the right text"
        return silence(), BlindRow(name, _right_text, self.needs_grader, knows_texts=True)


@dataclass
class _Reader:
    """Whether a reply means what a slot asks for."""

    item: Item[Gold]
    grader: Grader | None
    check: bool
    num_unscored: int = 0

    async def fits(self, number: int, slot: Slot, reply: TimedReply) -> bool:
        task = self.item.gold.task
        if not self.check:
            return True
        if task in KEYWORD_TASKS:
            return is_detected(task, slot.text, reply.text)
        wanted, said = slot.text.strip(), reply.text.strip()
        if not wanted or not said or self.grader is None:
            return False
        rubric, least = MEANINGS[task]
        key = GradeKey(self.item.stream.item_id, number, reply.time_s)
        asked = slot.question if task == "SQA" else ""
        grade = await self.grader.grade(rubric, key, asked, wanted, said)
        if isinstance(grade, Unscored):
            self.num_unscored += 1
            return False
        return grade >= least


Fits = list[tuple[int, float]]  # the replies that a slot took, in time order: number, timeliness


async def _fill(
    reader: _Reader, number: int, slot: Slot, replies: Sequence[TimedReply], occupancy_k: int
) -> Fits:
    """What a slot takes; other slots do not matter to it. Meaning is asked for only in reach."""
    taken: Fits = []
    for order, reply in enumerate(replies):
        timely = timeliness(reply.time_s, slot.time_s, TIMINGS[reader.item.gold.task])
        if timely >= LEAST_T and await reader.fits(number, slot, reply):
            taken.append((order, timely))
            if len(taken) == occupancy_k:
                break
    return taken


def timeliness(time_s: float, due_s: float, timing: Timing) -> float:
    """T of a reply at `time_s`, 0 to 1."""
    early_s = due_s - timing.offset_s - time_s
    late_s = time_s - (due_s + timing.offset_s)
    if early_s > 0:
        return math.exp(-(early_s**2) / (2 * timing.early_s**2))
    return math.exp(-(late_s**2) / (2 * timing.late_s**2)) if late_s > 0 else 1.0


def _terms_of(filled: Sequence[Fits], num_replies: int, suffix: str) -> dict[str, float]:
    best = [max(timely for _, timely in fits) for fits in filled if fits]
    used = {number for fits in filled for number, _ in fits}
    return {
        f"sum_t{suffix}": sum(best),
        f"num_filled{suffix}": float(len(best)),
        f"num_false{suffix}": float(num_replies - len(used)),
    }


def _shares(terms: Terms) -> dict[str, float]:
    def f1(suffix: str, more_false: float = 0.0, more_slots: float = 0.0) -> float:
        timely, taken = terms[f"sum_t{suffix}"], terms[f"num_filled{suffix}"]
        precision = ratio(timely, taken + terms[f"num_false{suffix}"] + more_false)
        return f1_of(precision, ratio(timely, terms["slots"] + more_slots))

    corrected = f1("", terms["num_dropped"], terms.get("slots_missing", 0.0))
    return {
        "t_f1": f1(""),
        "t_score": ratio(terms["sum_t"], terms["slots"]),
        "t_f1_at_1": f1("_at_1"),
        "t_f1_corrected": corrected,
        "t_score_at_1": ratio(terms["sum_t_at_1"], terms["slots"]),
        "precision": ratio(terms["sum_t"], terms["num_filled"] + terms["num_false"]),
    }


def _figures_of(terms: Terms) -> dict[str, Any]:
    """Of a task, or of several pooled."""
    if not terms.get("slots"):
        return {"n": 0, "t_f1": None, "t_score": None, "t_f1_at_1": None, "t_f1_corrected": None}
    counts = ("slots", "num_filled", "num_false", "num_dropped", "num_unscored")
    return {
        "n": round(terms["n"]),
        **{name: percent(share) for name, share in _shares(terms).items()},
        **{name: round(terms[name]) for name in counts},
        "n_missing": round(terms.get("n_missing", 0.0)),
    }


def _right_text(item: Item[Gold]) -> Prediction:
    """Speaks every second, and says what the nearest slot asks for."""
    slots = item.gold.slots
    last_s = slots[-1].time_s + TIMINGS[item.gold.task].offset_s if slots else 0.0
    nearest = ((t, min(slots, key=lambda s: abs(s.time_s - t))) for t in range(1, int(last_s) + 1))
    replies = (TimedReply(float(t), slot.text or "Now.") for t, slot in nearest)
    return Prediction(item.stream.item_id, tuple(replies))
