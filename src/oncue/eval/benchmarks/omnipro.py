"""OmniPro, online: alerts, positions, counts, states and narration while a video is watched.

Emissions that follow one another closely are one emission at the time of the first. Emissions and
triggers are paired, nearest first; F1 of the pairs is time F1, F1 of those with right content joint
F1. Files: see `omnipro_items`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncue.eval.benchmarks.omnipro_items import ALERTS, JUDGED, TASKS, Gold, is_right, read_items
from oncue.eval.streams.benchmark import (
    BlindRow,
    BySubset,
    Card,
    Figures,
    Headline,
    ItemScore,
    Mark,
    Terms,
)
from oncue.eval.streams.blind import every, silence
from oncue.eval.streams.official import files_of
from oncue.eval.streams.ratios import f1_of, mean_of_percents, ratio, ungraded
from oncue.eval.streams.stream import Item, Prediction
from oncue.eval.table import percent
from oncue.fields import IdText, Seconds, read_as
from oncue.json_files import json_rows
from oncue.scoring.grader import GradeKey, Grader, Rubric
from oncue.scoring.score import Unscored
from oncue.setting_checks import require_not_negative
from oncue.types import TimedReply

CHAIN_S = 2.0  # emissions this close to the one before are part of it
PASS_GRADE = 3
SIGNAL = "Now."
SAME_EVENT = Rubric(
    "omnipro",
    1,
    5,
    "Someone watches a video and has asked an assistant to report certain events, or to guide them "
    "through steps. Compare a report of the assistant with what really happened. 5: the same event "
    "or step, with the same information. 4: the same, small details differ. 3: the right event, "
    "with clear mistakes in its description. 2: partly about it, but mostly wrong or vague. 1: "
    "about something else.",
)
_EXPECTED = 'predictions of OmniPro, {"id", "predictions": [{"t_sec", "raw"}]}'

CARD = Card(
    name="omnipro",
    title="OmniPro, online",
    measures="whether something is said within 3 s of each trigger and nowhere else (time F1), and "
    "whether it holds what the task asks for (joint F1)",
    data="benchmark.json and raw_videos/ of omniproact-bench/OmniPro on Hugging Face (2,700 "
    "samples: 9 tasks of 300); the loader follows the official code, since the file was not at "
    "hand",
    licence="MIT (code and annotations)",
    source="OmniPro (arXiv 2605.18577), RuixiangZhao/OmniPro @13aa8e5",
    defects=(
        "Emissions at most 2 s after the previous one are joined to it, so a model that speaks in "
        "every second has a single emission, at the time of the question.",
        "Alerts count as right content, so they raise the mean content accuracy.",
        'A state must be the whole reply: "Green." is wrong where Green is right.',
        "Samples that are not in the file of predictions are not counted.",
        "The offsets of probes depend on a hash that differs between processes, so published probe "
        "numbers cannot be reproduced.",
    ),
    missing="are not counted, as in the official scorer; with_missing counts them as silence",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Emission:
    t_sec: Seconds
    raw: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    id: IdText
    predictions: tuple[_Emission, ...]


@dataclass(frozen=True, slots=True)
class OmniPro:
    """How OmniPro is scored, online."""

    grading: Literal["judge", "none"] = "judge"
    """Who grades narration and instructions. judge: --judge. none: nobody; their joint F1 is
    undefined."""

    tolerance_s: float = 3.0
    """How far from its trigger an emission may be, in seconds."""

    chain: bool = True
    """Join emissions at most 2 s after the previous one to it, as the official evaluator does."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"joint F1": "joint_f1", "time F1": "time_f1", "content": "content_accuracy"}
        return tuple(Headline(name, ("overall", key)) for name, key in names.items())

    @property
    def needs_grader(self) -> bool:
        return self.grading == "judge"

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        require_not_negative(self, "tolerance_s")
        return read_items(annotations, self.tolerance_s)

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        """A file, or the folder with one file per task."""
        for file in files_of(path, "*.jsonl"):
            if not file.name.endswith(".scored.jsonl"):
                for where, row in json_rows(file, _EXPECTED):
                    yield where, _prediction_of(row, where)

    async def score(self, item: Item[Gold], said: Prediction, grader: Grader | None) -> ItemScore:
        gold = item.gold
        if said.is_missing:
            return ItemScore({"n_missing": 1.0, "fn_missing": float(len(gold.triggers))})
        emissions = sorted(said.replies, key=lambda reply: reply.time_s)
        emissions = chained(emissions) if self.chain else emissions
        pairs = paired(
            [e.time_s for e in emissions], [t.time_s for t in gold.triggers], self.tolerance_s
        )
        is_judged = gold.task in JUDGED
        terms = dict.fromkeys(("num_right", "num_graded", "num_unscored"), 0.0)
        verdicts = dict.fromkeys(range(len(emissions)), "no trigger near")
        for number, trigger in sorted(pairs.items()):
            emission = emissions[number]
            if is_judged and grader is None:
                verdicts[number] = "in time"
                continue
            terms["num_graded"] += 1
            right: bool | Unscored = (
                await _judged(grader, item, trigger, emission)
                if is_judged and grader is not None
                else is_right(gold, gold.triggers[trigger], emission.time_s, emission.text)
            )
            terms["num_unscored"] += isinstance(right, Unscored)
            terms["num_right"] += right is True
            verdicts[number] = "right" if right is True else "in time, not right"
        terms |= {
            "n": 1.0,
            "num_pairs": float(len(pairs)),
            "num_false": float(len(emissions) - len(pairs)),
            "num_missed": float(len(gold.triggers) - len(pairs)),
        }
        marks = tuple(Mark(e, verdicts[number]) for number, e in enumerate(emissions))
        is_open = is_judged and grader is None
        return ItemScore(terms, marks, _f1(terms, "num_pairs" if is_open else "num_right"))

    def figures(self, sums: BySubset) -> Figures:
        tasks = {
            task: self._figures_of(task, sums[task])
            for task in TASKS
            if sums.get(task, {}).get("n")
        }
        whole = {
            task: self._figures_of(task, _with_missing(sums[task]))
            for task in TASKS
            if task in sums
        }
        others = [figures for task, figures in tasks.items() if task not in ALERTS]
        return {
            "overall": {
                **_means(tasks.values()),
                "content_accuracy_without_alerts": mean_of_percents(
                    figures["content_accuracy"] for figures in others
                ),
                "with_missing": _means(whole.values()),
                "n_tasks": len(tasks),
                **{
                    name: round(sum(terms.get(name, 0.0) for terms in sums.values()))
                    for name in ("n", "n_missing", "num_unscored")
                },
            },
            "subsets": tasks,
        }

    def remarks(self, figures: Figures) -> list[str]:
        """How many replies could not be graded."""
        return ungraded(figures["overall"]["num_unscored"])

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        judged = self.needs_grader
        return (
            silence(),
            BlindRow("every tick", _every_tick, judged),
            every(3.0, SIGNAL, needs_grader=judged),
            every(10.0, SIGNAL, needs_grader=judged),
        )

    def _figures_of(self, task: str, terms: Terms) -> Figures:
        is_undecided = task in JUDGED and not self.needs_grader
        graded = terms["num_graded"]
        return {
            "n": round(terms["n"]),
            "time_f1": percent(_f1(terms, "num_pairs")),
            "content_accuracy": percent(terms["num_right"] / graded) if graded else None,
            "joint_f1": None if is_undecided else percent(_f1(terms, "num_right")),
            **{
                name: round(terms[name])
                for name in ("num_pairs", "num_right", "num_false", "num_missed", "num_unscored")
            },
        }


def chained(emissions: Sequence[TimedReply]) -> list[TimedReply]:
    """Emissions in time order; those close to the one before are joined to it, text to text, and
    keep its time."""
    chains: list[list[TimedReply]] = []
    for emission in emissions:
        if chains and emission.time_s - chains[-1][-1].time_s <= CHAIN_S:
            chains[-1].append(emission)
        else:
            chains.append([emission])
    return [TimedReply(chain[0].time_s, " ".join(e.text for e in chain)) for chain in chains]


def paired(
    emissions_s: Sequence[float], triggers_s: Sequence[float], tolerance_s: float
) -> dict[int, int]:
    """Which emission belongs to which trigger, one to one: the nearest pair first, then the next;
    of equal ones the earlier in the lists."""
    near = sorted(
        (abs(emitted - due), number, trigger)
        for number, emitted in enumerate(emissions_s)
        for trigger, due in enumerate(triggers_s)
        if abs(emitted - due) <= tolerance_s
    )
    pairs: dict[int, int] = {}
    for _, number, trigger in near:
        if number not in pairs and trigger not in pairs.values():
            pairs[number] = trigger
    return pairs


async def _judged(
    grader: Grader, item: Item[Gold], number: int, emission: TimedReply
) -> bool | Unscored:
    """A failed judgement is no pass."""
    key = GradeKey(item.stream.item_id, number, emission.time_s)
    wanted, asked = item.gold.triggers[number].response, item.stream.questions[0].text
    grade = await grader.grade(SAME_EVENT, key, asked, wanted, emission.text.strip())
    return grade if isinstance(grade, Unscored) else grade >= PASS_GRADE


def _f1(terms: Terms, hits: str) -> float:
    """Of `hits` over all emissions and over all triggers."""
    emitted = terms["num_pairs"] + terms["num_false"]
    due = terms["num_pairs"] + terms["num_missed"]
    return f1_of(ratio(terms[hits], emitted), ratio(terms[hits], due))


def _with_missing(terms: Terms) -> Terms:
    """Samples without a prediction as silence."""
    names = ("num_pairs", "num_right", "num_false", "num_graded", "num_unscored")
    return {
        **{name: terms.get(name, 0.0) for name in names},
        "n": terms.get("n", 0.0) + terms.get("n_missing", 0.0),
        "num_missed": terms.get("num_missed", 0.0) + terms.get("fn_missing", 0.0),
    }


def _means(tasks: Any) -> dict[str, float | None]:
    """Over tasks, those left out where it is undefined."""
    figures = list(tasks)
    return {
        name: mean_of_percents(task[name] for task in figures)
        for name in ("joint_f1", "time_f1", "content_accuracy")
    }


def _prediction_of(row: Mapping[str, Any], where: str) -> Prediction:
    """Blank emissions are none."""
    output = read_as(_Output, row, where)
    said = (TimedReply(one.t_sec, str(one.raw or "")) for one in output.predictions)
    return Prediction(output.id, tuple(reply for reply in said if reply.text.strip()))


def _every_tick(item: Item[Gold]) -> Prediction:
    """Speaks in every second, from that of the question on."""
    start_s, end_s = item.stream.start_s, item.stream.end_s or item.stream.start_s
    ticks = range(int(start_s), int(end_s) + 1)
    return Prediction(item.stream.item_id, tuple(TimedReply(float(t), SIGNAL) for t in ticks))
