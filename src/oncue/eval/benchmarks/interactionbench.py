"""InteractionBench: what a model says to questions and standing requests, and when.

Accuracy says what was said, timing accuracy (TA) how soon after it was due, silence compliance (SC)
how much was said without need. An item's total is the mean of its accuracy and of the harmonic mean
of TA and SC. Files: see `interactionbench_items`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oncue.eval.benchmarks.interactionbench_items import AT_ONCE, WATCHED_AFTER_S, Gold, read_items
from oncue.eval.benchmarks.interactionbench_scores import (
    Matches,
    Reader,
    counts,
    is_segmented,
    matched,
    segments,
    values,
)
from oncue.eval.benchmarks.interactionbench_text import LETTERS
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
from oncue.eval.streams.official import files_of
from oncue.eval.streams.ratios import pooled_terms, ungraded
from oncue.eval.streams.stream import Item, Prediction
from oncue.fields import IdText, Seconds, read_as
from oncue.json_files import json_rows
from oncue.scoring.grader import Grader
from oncue.setting_checks import require_not_negative, require_positive
from oncue.types import TimedReply

METRICS = ("total", "accuracy", "timing_accuracy", "silence_compliance", "timing")
CORRECTED = ("accuracy_corrected", "total_corrected")
_EXPECTED = 'predictions of InteractionBench, {"video_id", "item_index", "emissions": [...]}'
_PAPER = "all 1,060 items, judge Qwen3-14B, multiple choice where there is a key"

CARD = Card(
    name="interactionbench",
    title="InteractionBench",
    measures="what is said to questions and standing requests (accuracy), how soon after it was "
    "due (TA), and how little is said without need (SC)",
    data="annotations/ and mcq/mcq_key_v4.jsonl of InteractionBench/InteractionBench on Hugging "
    "Face (1,060 items, 812 videos, 54 GB)",
    licence="none stated",
    source="Espere-1119-Song/InteractionBench, metrics @768250e, data @3bf1601",
    defects=(
        'The article "a" is read as option A: "It is a blue one" is wrong where blue is B.',
        'The last number of all replies is the count: "in 2 seconds" after the last count is 2.',
        "A reply 14 s late with the right text still has a total of 50.",
        "A reply that the judge did not grade is wrong and counted.",
        "Silence compliance does not exist on an item where nothing was said, so it is a mean over "
        "other items than accuracy.",
    ),
    published=tuple(
        Published(
            who,
            dict(zip(("total", "accuracy", "TA", "SC"), figures, strict=False)),
            f"{how}; {_PAPER}",
            "configs/paper_runs.json @768250e",
        )
        for who, figures, how in (
            ("MiniCPM-o-4.5", (39.1, 39.6, 60.5, 48.5), "polling, history kept"),
            ("Qwen3-VL-8B", (34.8, 54.2, 77.8, 10.9), "polling, 16 newest frames, no history"),
            ("Qwen3-VL-8B, 256 frames", (39.0, 58.7, 81.3, 17.2), "polling, no history"),
            ("Qwen3-VL-8B without frames", (15.7, 9.0, 32.6, 44.2), "polling, blind"),
            ("JoyAI-VL", (33.8,), "its own live client"),
            ("MMDuet2", (17.0, 19.0, 40.4, 23.0), "4 fps, at most 880 frames: 220 s of a video"),
            ("VideoLLM-online", (14.5,), "its own stream"),
        )
    ),
    skips_unknown=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Emission:
    t: Seconds
    content: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    video_id: IdText
    item_index: int = 0
    emissions: tuple[_Emission, ...]


@dataclass(frozen=True, slots=True)
class InteractionBench:
    """How InteractionBench is scored."""

    grading: Literal["judge", "overlap"] = "judge"
    """Who grades free text. judge: --judge. overlap: nobody, by equal words, shared words and
    numbers."""

    delta_s: float = 5.0
    """A reply this many seconds late earns nothing for its timing."""

    tolerance_s: float = 1.0
    """A reply this many seconds early still belongs to its event, without delay."""

    skip_missing: bool = False
    """Leave items without a prediction out. By default they count as silence."""

    @property
    def card(self) -> Card:
        return replace(CARD, missing="are left out") if self.skip_missing else CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"total": "total", "accuracy": "accuracy", "TA": "timing_accuracy"}
        names |= {"SC": "silence_compliance", "total, corrected": "total_corrected"}
        return tuple(Headline(name, ("overall", key)) for name, key in names.items())

    @property
    def needs_grader(self) -> bool:
        return self.grading == "judge"

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        require_positive(self, "delta_s")
        require_not_negative(self, "tolerance_s")
        return read_items(annotations, self.tolerance_s, self.delta_s)

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        """A repeated line of an item replaces the earlier one, as in the official scorer."""
        newest: dict[str, tuple[str, Prediction]] = {}
        for file in files_of(path, "*.jsonl"):
            for where, row in json_rows(file, _EXPECTED):
                said = _prediction_of(row, where)
                newest[said.item_id] = (where, said)
        yield from newest.values()

    async def score(self, item: Item[Gold], said: Prediction, grader: Grader | None) -> ItemScore:
        if said.is_missing and self.skip_missing:
            return ItemScore({})
        replies = sorted(said.replies, key=lambda reply: reply.time_s)
        gold = item.gold
        if not gold.events:
            compliance = 0.0 if replies else 100.0
            names = ("total", "silence_compliance", "timing", "total_corrected")
            marks = tuple(Mark(reply, "silence was due") for reply in replies)
            terms = {"num_replies": len(replies), "num_extra": len(replies)}
            return _scored(dict.fromkeys(names, compliance), terms, marks)
        matches = Matches.of(replies, gold.events, self.tolerance_s)
        reader = Reader(item, None if self.grading == "overlap" else grader)
        if is_segmented(gold):
            accuracy, corrected = await segments(reader, replies)
        elif gold.time_type != AT_ONCE and gold.is_counting:
            accuracy, corrected = counts(gold, replies, matches)
        else:
            accuracy, corrected = await matched(reader, matches)
        figures = values(gold, matches, bool(replies), self.delta_s, accuracy, corrected)
        found = {**matches.terms(), "num_unscored": reader.num_unscored}
        return _scored(figures, found, matches.marks())

    def figures(self, sums: BySubset) -> Figures:
        return {
            "overall": _figures_of(pooled_terms(sums)),
            "subsets": {name: _figures_of(terms) for name, terms in sorted(sums.items())},
        }

    def remarks(self, figures: Figures) -> list[str]:
        """How many replies could not be graded."""
        return ungraded(figures["overall"]["num_unscored"])

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        return silence(), BlindRow(
            "every 1 s, the right text", _right_text, self.needs_grader, knows_texts=True
        )


def _scored(
    figures: Mapping[str, float | None], terms: Mapping[str, float], marks: tuple[Mark, ...]
) -> ItemScore:
    known = {name: value for name, value in figures.items() if value is not None}
    sums = {f"sum.{name}": value for name, value in known.items()}
    nums = {f"n.{name}": 1.0 for name in known}
    counts = {name: float(value) for name, value in terms.items()}
    return ItemScore({"n": 1.0, **sums, **nums, **counts}, marks, known["total"] / 100)


def _figures_of(terms: Terms) -> Figures:
    means = {
        name: round(terms[f"sum.{name}"] / terms[f"n.{name}"], 3)
        if terms.get(f"n.{name}")
        else None
        for name in (*METRICS, *CORRECTED)
    }
    counts = (
        "num_events",
        "num_matched",
        "num_premature",
        "num_redundant",
        "num_replies",
        "num_extra",
        "num_unscored",
    )
    return {
        "n": round(terms.get("n", 0.0)),
        **means,
        **{name: round(terms.get(name, 0.0)) for name in counts},
    }


def _prediction_of(row: Mapping[str, Any], where: str) -> Prediction:
    """Empty emissions are dropped. An item without a number is the first of its video."""
    output = read_as(_Output, row, where)
    said = (TimedReply(one.t, str(one.content or "")) for one in output.emissions)
    replies = tuple(reply for reply in said if reply.text.strip())
    return Prediction(f"{output.video_id}#{output.item_index}", replies)


def _right_text(item: Item[Gold]) -> Prediction:
    """Speaks every second, and always says what the newest event asks for."""
    gold, stream = item.gold, item.stream
    asked_s = stream.questions[0].time_s
    first_s = asked_s if gold.time_type == AT_ONCE else 1.0
    end_s = stream.end_s if stream.end_s is not None else asked_s + WATCHED_AFTER_S
    times = [first_s + k for k in range(int(max(0.0, end_s - first_s) + 1e-9) + 1)]

    def text(time_s: float) -> str:
        reached = [words for start_s, words in gold.events if start_s <= time_s + 1.0]
        if gold.options:
            return LETTERS[gold.correct]
        return (reached or [words for _, words in gold.events[:1]] or [""])[-1] or "Now."

    return Prediction(stream.item_id, tuple(TimedReply(t, text(t)) for t in times if t <= end_s))
