"""OmniPro, probe mode: a model is asked before and after each trigger, and must be right twice.

Only the official output says which probe an answer belongs to: rows {"id", "predictions":
[{"gt_idx", "probe_type": "pre" or "post", "time_sec", "raw_response", "gt_expected"}]}. Answers are
read again from their text. Annotations are those of `oncue.eval.benchmarks.omnipro_items`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.omnipro import CARD as ONLINE_CARD
from oncue.eval.benchmarks.omnipro_items import (
    ALERTS,
    COUNTS_SO_FAR,
    GROUNDING,
    JUDGED,
    SNAPSHOT,
    STATE,
    TASKS,
    Gold,
    Trigger,
    read_items,
)
from oncue.eval.benchmarks.omnipro_probe_text import (
    choice_said,
    count_said,
    first_count_said,
    position_said,
    says_yes,
    state_said,
)
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
from oncue.eval.streams.official import files_of
from oncue.eval.streams.ratios import f1_of, mean_of_percents, ratio
from oncue.eval.streams.stream import Item, Prediction
from oncue.eval.table import percent
from oncue.fields import IdText, Index, Must, Seconds, has_value, read_as
from oncue.json_files import json_rows
from oncue.scoring.grader import Grader
from oncue.types import Question, TimedReply

BEFORE, AFTER = "pre", "post"
TOLERANCE_S = 3.0  # of what a timeline shows as due; no probe is scored by it
_EXPECTED = (
    'probes of OmniPro, {"id", "predictions": [{"gt_idx", "probe_type", "time_sec", '
    '"raw_response"}]}'
)

CARD = replace(
    ONLINE_CARD,
    name="omnipro-probe",
    title="OmniPro, probe mode",
    measures="whether a model that is asked shortly before and after each trigger is right both "
    "times",
    defects=(
        "The offsets of probes depend on a hash that differs between processes, so published "
        "numbers cannot be reproduced.",
        "The official name of the mean of paired accuracies is avg_f1; it is no F1.",
        "Narration and instruction are one choice of letters per trigger, without a probe before.",
        "Samples that are not in the file, or that failed, are not counted.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    probe_type: Annotated[Literal["pre", "post"], Must("pre or post")]
    gt_idx: Index
    time_sec: Seconds
    raw_response: Any
    gt_expected: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    id: IdText
    predictions: tuple[_Probe, ...]


@dataclass(frozen=True, slots=True)
class OmniProProbe:
    """How the probe mode of OmniPro is scored. It needs no judge, but --format official."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"paired accuracy": "paired_accuracy", "before": "pre_accuracy"}
        names |= {"after": "post_accuracy", "paired, with missing": "with_missing"}
        return tuple(Headline(name, ("overall", key)) for name, key in names.items())

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        return read_items(annotations, TOLERANCE_S)

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        """A file, or the folder with one file per task. Rows with an error are left out."""
        for file in files_of(path, "*.jsonl"):
            for where, row in json_rows(file, _EXPECTED):
                if not has_value(row, "error"):
                    yield where, _prediction_of(row, where)

    async def score(
        self,
        item: Item[Gold],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - answers are compared
    ) -> ItemScore:
        if said.is_missing:
            return ItemScore({"pairs_missing": float(len(item.gold.triggers))})
        if len(said.answers) != len(said.replies):
            raise ConfigError(
                f"{said.item_id!r} has replies that belong to no probe; omnipro-probe reads the "
                "official output alone, so add --format official"
            )
        right: dict[int, dict[str, bool]] = {}
        marks = []
        for reply, asked in zip(said.replies, said.answers, strict=True):
            kind, number, expected = _probe_of(asked, item)
            is_right = _is_right(item.gold, kind, number, expected, reply.text)
            right.setdefault(number, {})[kind] = is_right
            marks.append(Mark(reply, f"{kind} {number}: {'right' if is_right else 'wrong'}"))
        terms = {"n": 1.0}
        for kind in (BEFORE, AFTER):
            found = [kinds[kind] for kinds in right.values() if kind in kinds]
            terms |= {f"num_{kind}": float(len(found)), f"right_{kind}": float(sum(found))}
        pairs = [kinds for kinds in right.values() if len(kinds) == 2]
        terms |= {
            "num_pairs": float(len(pairs)),
            "right_pairs": float(sum(all(kinds.values()) for kinds in pairs)),
        }
        return ItemScore(terms, tuple(marks), _paired(terms))

    def figures(self, sums: BySubset) -> Figures:
        tasks = {task: _figures_of(sums[task]) for task in TASKS if sums.get(task, {}).get("n")}
        whole = [_figures_of(_with_missing(sums[task])) for task in TASKS if task in sums]
        names = ("paired_accuracy", "pre_accuracy", "post_accuracy")
        means = {name: mean_of_percents(task[name] for task in tasks.values()) for name in names}
        missing = mean_of_percents(task["paired_accuracy"] for task in whole)
        return {
            "overall": {**means, "with_missing": missing, "n_tasks": len(tasks)},
            "subsets": tasks,
        }

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        return tuple(
            BlindRow(f"always {text}", partial(_always, text=text)) for text in ("NO", "YES")
        )


def _always(item: Item[Gold], text: str) -> Prediction:
    """The same answer to both probes of each trigger; no choice of letters, whose order only the
    official output knows."""
    triggers = () if item.gold.task in JUDGED else item.gold.triggers
    asked = [
        Question(f"{k} {n}", t.time_s) for n, t in enumerate(triggers) for k in (BEFORE, AFTER)
    ]
    replies = tuple(TimedReply(question.time_s, text) for question in asked)
    return Prediction(item.stream.item_id, replies, answers=tuple(asked))


def _probe_of(asked: Question | None, item: Item[Gold]) -> tuple[str, int, str]:
    """Which probe an answer belongs to: before or after, the number of its trigger, the letter that
    is expected where letters are chosen."""
    kind, number, *expected = (asked.text if asked else "").split(" ")
    if int(number) >= len(item.gold.triggers):
        raise DataError(
            f"{item.stream.item_id!r} has a probe of trigger {number}, but "
            f"{len(item.gold.triggers)} triggers; give the annotations that it was made for"
        )
    return kind, int(number), expected[0] if expected else ""


def _is_right(gold: Gold, kind: str, number: int, expected: str, said: str) -> bool:
    trigger: Trigger = gold.triggers[number]
    if gold.task in COUNTS_SO_FAR:
        return count_said(said) == number + (kind == AFTER)
    if gold.task == STATE:
        wanted = trigger.state_from if kind == BEFORE else trigger.state
        state = state_said(said, gold.states)
        return state is not None and state.lower() == wanted.lower()
    if gold.task in JUDGED:
        return bool(expected) and choice_said(said) == expected
    if kind == BEFORE or gold.task in ALERTS:
        return says_yes(said) is (kind == AFTER)
    if gold.task == SNAPSHOT:
        count = first_count_said(said)
        return says_yes(said) and count is not None and count == trigger.count
    assert gold.task == GROUNDING
    position = position_said(said)
    return says_yes(said) and position is not None and position == trigger.position.lower()


def _paired(terms: Terms) -> float:
    """The share of triggers with both probes right; of those after, where there are no others."""
    if terms["num_pairs"]:
        return ratio(terms["right_pairs"], terms["num_pairs"])
    return 0.0 if terms[f"num_{BEFORE}"] else ratio(terms["right_post"], terms["num_post"])


def _figures_of(terms: Terms) -> Figures:
    shares = {kind: ratio(terms[f"right_{kind}"], terms[f"num_{kind}"]) for kind in (BEFORE, AFTER)}
    return {
        "n": round(terms["n"]),
        "paired_accuracy": percent(_paired(terms)),
        "pre_accuracy": percent(shares[BEFORE]) if terms["num_pre"] else None,
        "post_accuracy": percent(shares[AFTER]) if terms["num_post"] else None,
        "f1": percent(f1_of(shares[BEFORE], shares[AFTER])),
        **{name: round(terms[name]) for name in ("num_pairs", "right_pairs")},
    }


def _with_missing(terms: Terms) -> Terms:
    """The triggers of samples without probes as wrong."""
    names = ("n", "num_pre", "right_pre", "num_post", "right_post", "num_pairs", "right_pairs")
    known = {name: terms.get(name, 0.0) for name in names}
    more = "num_pairs" if known["num_pairs"] or not known["num_post"] else "num_post"
    return {**known, more: known[more] + terms.get("pairs_missing", 0.0)}


def _prediction_of(row: Mapping[str, Any], where: str) -> Prediction:
    output = read_as(_Output, row, where)
    replies = (TimedReply(p.time_sec, str(p.raw_response or "")) for p in output.predictions)
    answers = (
        Question(f"{p.probe_type} {p.gt_idx} {p.gt_expected or ''}".strip(), p.time_sec)
        for p in output.predictions
    )
    return Prediction(output.id, tuple(replies), answers=tuple(answers))
