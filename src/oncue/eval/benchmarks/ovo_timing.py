"""OVO-Timing: when a model speaks by itself in the forward tasks of OVO-Bench (CRR, SSR, REC).

The stream is watched from 0 s (CRR: from the question) to its last probe. Replies are matched with
the moments at which events are seen. Official output: JSON lines of Em-Garde, or JSON of
OneStreamer's VLMEvalKit, {"id" or "sample_id", "detections", "checked_detections"}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oncue.errors import DataError
from oncue.eval.benchmarks.ovo_card import TIMING_CARD
from oncue.eval.benchmarks.ovo_timing_items import TOLERANCE_S, read_items
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
from oncue.eval.streams.blind import every, once_after, silence
from oncue.eval.streams.stream import Item, Prediction
from oncue.eval.table import percent
from oncue.fields import Index, Seconds, field_as, has_value, read_as
from oncue.json_files import json_object, json_rows
from oncue.scoring.grader import Grader
from oncue.types import TimedReply

FIRST_ID = 1468  # of the forward rows of ovo_bench_new.json, which Em-Garde counts from 0
BLIND_INTERVALS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 10.0, 20.0)
BLIND_DELAY_S = 5.0
DETECTED = "Now."
_TASKS = ("CRR", "SSR", "REC")
_EXPECTED = '{"id" or "sample_id", "detections": [seconds]}'
_COUNTS = ("zero", "one", "multiple")
_LISTS = ("checked_detections", "detections", "response_events")
_FIRST = ("early", "hit", "late", "no_answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Detection:
    time: Seconds
    response: Any = None


@dataclass(frozen=True, slots=True)
class OvoTiming:
    """OVO-Timing, by rules alone."""

    variant: Literal["onestreamer", "em-garde"] = "onestreamer"
    """onestreamer: the mean over the tasks that have items; a missing prediction is silence; an
    empty list of checked detections falls back to all detections. em-garde: the sum of the tasks
    over three; a missing (failed) prediction is left out; checked detections count even if there
    are none."""

    detections: Literal["checked", "raw"] = "checked"
    """Which of a file of --format official. checked: those with a response. raw: all."""

    @property
    def card(self) -> Card:
        dropped = self.variant == "em-garde"
        return replace(TIMING_CARD, missing="are left out, as failed") if dropped else TIMING_CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        return (
            Headline("F1", ("f1",)),
            *(Headline(f"{task} F1", ("tasks", task, "f1")) for task in _TASKS),
            Headline("CRR first F1", ("CRR_first_response", "f1")),
            Headline("F1 best", ("f1_best",)),
        )

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[tuple[float, ...]]]:
        return read_items(annotations)

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        for where, row in json_rows(path, _EXPECTED):
            if not has_value(row, "error"):  # a failed sample has no prediction
                replies = self._detections(_prediction_in(row, where), where)
                yield where, Prediction(_id_of(row, where), tuple(replies))

    def _detections(self, said: Any, where: str) -> list[TimedReply]:
        names = _LISTS if self.detections == "checked" else _LISTS[1:]
        present = [name for name in names if has_value(said, name)]
        if not present:
            raise DataError(f"{where} has none of {', '.join(names)}; expected {_EXPECTED}")
        replies = _replies(said, present[0], where)
        falls_back = self.variant == "onestreamer" and present[0] == _LISTS[0]
        if not replies and falls_back and len(present) > 1:
            return _replies(said, present[1], where)
        return replies

    async def score(
        self,
        item: Item[tuple[float, ...]],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - timing alone
    ) -> ItemScore:
        if said.is_missing and self.variant == "em-garde":
            return ItemScore({})
        gold, times = item.gold, [reply.time_s for reply in said.replies]
        matched = matches(gold, times)
        terms = {"n": 1.0, **_shares(len(matched), gold, times)}
        best = len(matches(sorted(gold), sorted(times)))
        terms |= {f"{name}_best": share for name, share in _shares(best, gold, times).items()}
        if item.stream.subset == "CRR":
            terms |= _crr_terms(gold[0], times, len(matched))
        marks = tuple(
            Mark(reply, "hit" if number in matched else "false")
            for number, reply in enumerate(said.replies)
        )
        return ItemScore(terms, marks, _f1(terms["recall"], terms["precision"]))

    def figures(self, sums: BySubset) -> Figures:
        tasks = {task: _task_figures(sums.get(task, {})) for task in _TASKS}
        names = ("f1", "recall", "precision", "f1_best")
        return {
            **{name: percent(self._mean([of[name] for of in tasks.values()])) for name in names},
            "n": sum(of["n"] for of in tasks.values()),
            "tasks": {
                task: {k: v if k == "n" else percent(v) for k, v in of.items()}
                for task, of in tasks.items()
            },
            **_crr_figures(sums.get("CRR", {})),
        }

    def _mean(self, values: Sequence[float | None]) -> float | None:
        present = [value for value in values if value is not None]
        if self.variant == "em-garde":
            return sum(present) / len(_TASKS)
        return sum(present) / len(present) if present else None

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        talk = (every(interval_s, DETECTED) for interval_s in BLIND_INTERVALS_S)
        return silence(), once_after(BLIND_DELAY_S, DETECTED), *talk


def matches(gold_s: Sequence[float], times_s: Sequence[float]) -> set[int]:
    """The replies that hit: each gold time, in order, takes the first free reply within 2 s. With
    both sorted these are as many as can be."""
    taken: set[int] = set()
    for due_s in gold_s:
        for number, time_s in enumerate(times_s):
            if number not in taken and abs(time_s - due_s) <= TOLERANCE_S:
                taken.add(number)
                break
    return taken


def _shares(num_hits: int, gold: Sequence[float], times: Sequence[float]) -> Terms:
    precision = num_hits / len(times) if times else 0.0
    return {"recall": num_hits / len(gold), "precision": precision}


def _f1(recall: float, precision: float) -> float:
    both = recall + precision
    return 2 * recall * precision / both if both else 0.0


def _crr_terms(due_s: float, times: Sequence[float], num_hits: int) -> Terms:
    """How many replies an item has, and how the first one lies."""
    if not times:
        first = "no_answer"
    elif abs(times[0] - due_s) <= TOLERANCE_S:
        first = "hit"
    else:
        first = "early" if times[0] < due_s else "late"
    return {
        f"first_{first}": 1.0,
        f"replies_{_COUNTS[min(len(times), 2)]}": 1.0,
        "num_replies": float(len(times)),
        "num_hits": float(num_hits),
    }


def _task_figures(total: Terms) -> Figures:
    """Shares of one task, None without items."""
    num = total.get("n", 0.0)
    names = ("recall", "precision", "recall_best", "precision_best")
    mean = {name: total[name] / num for name in names if num}
    return {
        "n": round(num),
        "f1": _f1(mean["recall"], mean["precision"]) if num else None,
        "recall": mean.get("recall"),
        "precision": mean.get("precision"),
        "f1_best": _f1(mean["recall_best"], mean["precision_best"]) if num else None,
    }


def _crr_figures(total: Terms) -> Figures:
    """The first reply alone: recall and precision are equal, so F1 is the share of hits."""
    num, hits = total.get("n", 0.0), total.get("first_hit", 0.0)
    answered, replies = num - total.get("first_no_answer", 0.0), total.get("num_replies", 0.0)
    return {
        "CRR_first_response": {
            "f1": percent(hits / num) if num else None,
            "micro_precision": percent(hits / answered if answered else 0.0),
            **{name: round(total.get(f"first_{name}", 0.0)) for name in _FIRST},
        },
        "CRR_responses": {
            "micro_precision": percent(total["num_hits"] / replies if replies else 0.0),
            "n": round(replies),
            **{name: round(total.get(f"replies_{name}", 0.0)) for name in _COUNTS},
        },
    }


def _id_of(row: Any, where: str) -> str:
    """The id of the annotations; Em-Garde has the number of the forward row instead, from 0."""
    if has_value(row, "sample_id"):
        return str(field_as(Index, row, "sample_id", where))
    number = field_as(Index, row, "id", where)
    return str(number if number >= FIRST_ID else FIRST_ID + number)


def _prediction_in(row: Any, where: str) -> Any:
    """The object with the detections: the row, or JSON text in its field "prediction"; any other
    text there is silence, as in the port."""
    text = row.get("prediction", row)
    if not isinstance(text, str):
        return text
    is_object = text.strip().startswith("{")
    if not is_object:
        return {"detections": []}
    return json_object(text.encode(), f"{where}, 'prediction'", _EXPECTED)


def _replies(said: Any, name: str, where: str) -> list[TimedReply]:
    """What a list of seconds, or of {"time", "response"?}, holds."""
    found = []
    for number, event in enumerate(field_as(tuple[Any, ...], said, name, where), 1):
        timed = event if isinstance(event, Mapping) else {"time": event}
        detected = read_as(_Detection, timed, f"{where}, {name} {number}")
        text = detected.response if isinstance(detected.response, str) else DETECTED
        found.append(TimedReply(detected.time, text))
    return found
