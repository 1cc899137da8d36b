"""OmniMMI, its two proactive tasks, with the official numbers.

Proactive alerting (PA): one signal when an event happens. Annotations: a list of {"video",
"question", "answer": [start, end]}, seconds. Official output: the same rows with "pred", all lists
of times or all single times.

Proactive turn-taking (PT): no answer to a last turn that needs none. Annotations: a list of
{"video", "conversation": [{"human", "assistant"}, ..., {"human"}]}. Official output: the same rows
with "pred", a text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

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
    Terms,
)
from oncue.eval.streams.blind import every, once_after, silence
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent, rounded
from oncue.fields import NonEmptyText, Seconds, Span, field_as, has_value, read_as
from oncue.json_files import json_rows
from oncue.scoring.grader import Grader
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

SIGNAL = "Now."
LIKELIEST_S = 132.0  # lies in as many spans of PA as any time does, 25 %
SILENT_MARK = "<2>"  # begins an official PT prediction of a model that stays silent
SILENT_TEXT = "NO REPLY"  # what a model says that puts silence into words
_ADDED = ("micro_precision", "recall_any", "f1")  # by OneStreamer's port
_CLIP = re.compile(r".*_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)")  # start and end of the clip in its source
_PA_ROW = 'a row of OmniMMI PA, {"video", "question", "answer": [start, end]}'
_PT_ROW = 'a row of OmniMMI PT, {"video", "conversation"}'

CARD = Card(
    name="omnimmi",
    title="OmniMMI proactive alerting",
    measures="whether the first reply to a standing request falls into the span of its event",
    data="omnimmi/proactive_alerting.json of OmniMMI/OmniMMI, and the videos of QVHighlights",
    licence="MIT (annotations)",
    source="OmniMMI (arXiv 2503.22952), evaluations/evaluate.py @036d2ca",
    defects=(
        "IoU is that of the stretch from the first to the last reply, so one perfect reply has "
        "IoU 0, and two replies at both ends of the span have 100.",
        "First and last are those in the order given, not in time; 'accuracy_earliest' takes the "
        "earliest.",
        "A reply at a span without length divides by zero; here its IoU is 0.",
        "Where predictions are single times, the official score prints the accuracy alone.",
    ),
    published=(
        Published(
            "MOSS-VL-Realtime", {"accuracy": 66.0}, "as its authors state", "MOSS-VL model card"
        ),
    ),
)
PT_CARD = replace(
    CARD,
    title="OmniMMI proactive turn-taking",
    measures="whether a model leaves a last turn alone that needs no answer",
    data="omnimmi/proactive_turntaking.json of OmniMMI/OmniMMI",
    defects=(
        "A model that never speaks has 100 %.",
        "Blanks and 'NO REPLY' count as speech; 'accuracy_mapped' counts them as silence.",
    ),
    published=(),
    missing="are left out",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alert:
    question: NonEmptyText
    answer: Span


@dataclass(frozen=True, slots=True)
class OmniMmi:
    """The proactive tasks of OmniMMI, by rules alone."""

    task: Literal["pa", "pt"] = "pa"
    """pa: signal an event (proactive alerting). pt: leave a last turn without an answer (proactive
    turn-taking)."""

    @property
    def card(self) -> Card:
        return CARD if self.task == "pa" else PT_CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {
            "pa": ("accuracy", "accuracy_earliest", "precision", "iou", *_ADDED),
            "pt": ("accuracy", "accuracy_mapped"),
        }
        return tuple(Headline(name, (name,)) for name in names[self.task])

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[TimeSpan | None]]:
        return [item for path in annotations for _, _, item in self._rows(path)]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        first: type | None = None
        for where, row, item in self._rows(path):
            pred = field_as(Any, row, "pred", where)
            if self.task == "pt":
                if not isinstance(pred, str):
                    raise DataError(f"{where}: 'pred' must be text, got {pred!r:.80}")
                yield where, _prediction(item, (0.0,) if pred else (), pred)
                continue
            kind = list if isinstance(pred, list) else float
            if first not in (None, kind):
                raise DataError(
                    f"{where}: 'pred' is {pred!r:.40}, but in the first row it is "
                    f"{'a list' if first is list else 'one time'}; give lists everywhere, or "
                    "single times"
                )
            first = kind
            yield where, _prediction(item, _times_of(row, where), SIGNAL)

    def _rows(self, path: Path) -> Iterator[tuple[str, Any, Item[TimeSpan | None]]]:
        """(place, row, item); the id of an item is its video, numbered where it comes again."""
        seen: Counter[str] = Counter()
        for where, row in json_rows(path, _PA_ROW if self.task == "pa" else _PT_ROW):
            self._check_task(row, where)
            video = field_as(NonEmptyText, row, "video", where)
            seen[video] += 1
            item_id = video if seen[video] == 1 else f"{video}#{seen[video]}"
            made = _pa_item if self.task == "pa" else _pt_item
            yield where, row, made(item_id, video, row, where)

    def _check_task(self, row: Any, where: str) -> None:
        other = "pt" if self.task == "pa" else "pa"
        if has_value(row, "conversation" if self.task == "pa" else "question"):
            raise DataError(f"{where} is of the other task; give --task {other}")

    async def score(
        self,
        item: Item[TimeSpan | None],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - rules alone
    ) -> ItemScore:
        return _pt_score(said) if item.gold is None else _pa_score(item.gold, said)

    def figures(self, sums: BySubset) -> Figures:
        total = sums.get("", {})
        return _pa_figures(total) if self.task == "pa" else _pt_figures(total)

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        if self.task == "pt":
            return silence(), once_after(0.0, SIGNAL)
        delayed = (once_after(delay_s, SIGNAL) for delay_s in (0.0, LIKELIEST_S))
        return silence(), *delayed, every(1.0, SIGNAL)


def _prediction(item: Item[Any], times_s: Sequence[float], text: str) -> Prediction:
    return Prediction(item.stream.item_id, tuple(TimedReply(time_s, text) for time_s in times_s))


def _times_of(row: Any, where: str) -> tuple[float, ...]:
    """The times of a PA prediction. A single time below 0 says that nothing was signalled."""
    pred = row["pred"]
    if isinstance(pred, list):
        return field_as(tuple[Seconds, ...], row, "pred", where)
    if isinstance(pred, int | float) and not isinstance(pred, bool) and pred < 0:
        return ()
    return (field_as(Seconds, row, "pred", where),)


def _pa_item(item_id: str, video: str, row: Any, where: str) -> Item[TimeSpan | None]:
    alert = read_as(_Alert, row, where)
    due = (GoldTurn(alert.question, alert.answer),)
    stream = Stream(item_id, video, (Question(alert.question),), due, duration_s=_clip_s(video))
    return Item(stream, alert.answer)


def _pt_item(item_id: str, video: str, row: Any, where: str) -> Item[TimeSpan | None]:
    turns = field_as(tuple[Any, ...], row, "conversation", where)
    if not turns:
        raise DataError(f"{where}: 'conversation' is empty; expected its turns")
    last = field_as(NonEmptyText, turns[-1], "human", f"{where}, last turn")
    return Item(Stream(item_id, video, (Question(last),)), None)


def _clip_s(video: str) -> float | None:
    """Seconds of a clip whose name ends with where it is cut from, as _360.0_510.0.mp4 does."""
    cut = _CLIP.fullmatch(PurePosixPath(video).stem)
    if cut is None:
        return None
    length_s = float(cut[2]) - float(cut[1])
    return length_s if length_s > 0 else None


def _pa_score(gold: TimeSpan, said: Prediction) -> ItemScore:
    times = [reply.time_s for reply in said.replies]
    hits = [time_s for time_s in times if time_s in gold]
    terms = {
        "n": 1.0,
        "n_replied": float(bool(times)),
        "n_replies": float(len(times)),
        "n_in_span": float(len(hits)),
        "accuracy": float(bool(times) and times[0] in gold),
        "accuracy_earliest": float(bool(times) and min(times) in gold),
        "precision": len(hits) / len(times) if times else 0.0,
        "iou": _iou(times[0], times[-1], gold) if times else 0.0,
        "recall_any": float(bool(hits)),
        "delay_s": hits[0] - gold.start_s if hits else 0.0,
        "distance_s": _distance_s(times[0], gold) if times else 0.0,
    }
    marks = tuple(Mark(r, "in the span" if r.time_s in gold else "outside") for r in said.replies)
    return ItemScore(terms, marks, terms["accuracy"])


def _iou(first_s: float, last_s: float, gold: TimeSpan) -> float:
    """As officially, also where the last reply comes before the first."""
    both = min(last_s, gold.end_s) - max(first_s, gold.start_s)
    either = max(last_s, gold.end_s) - min(first_s, gold.start_s)
    return max(0.0, both) / either if either > 0 else 0.0


def _distance_s(time_s: float, gold: TimeSpan) -> float:
    return max(gold.start_s - time_s, time_s - gold.end_s, 0.0)


def _pa_figures(total: Terms) -> Figures:
    """The official figures; then those that OneStreamer's port adds, and the earliest reply."""
    num, replies = total.get("n", 0.0), total.get("n_replies", 0.0)

    def mean(name: str, of: str = "n") -> float | None:
        return total[name] / total[of] if total.get(of) else None

    official = {name: percent(mean(name)) for name in ("accuracy", "precision", "iou")}
    precision, recall = total["n_in_span"] / replies if replies else 0.0, mean("recall_any")
    f1 = None
    if recall is not None:
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "n": round(num),
        **official,
        "accuracy_earliest": percent(mean("accuracy_earliest")),
        "micro_precision": percent(precision),
        "recall_any": percent(recall),
        "f1": percent(f1),
        "delay_s": rounded(mean("delay_s", "recall_any"), 3),
        "distance_s": rounded(mean("distance_s", "n_replied"), 3),
        "n_replies": round(replies),
    }


def _pt_score(said: Prediction) -> ItemScore:
    if said.is_missing:
        return ItemScore({})
    silent = [not r.text or r.text.startswith(SILENT_MARK) for r in said.replies]
    mapped = [
        is_silent or reply.text.strip() in ("", SILENT_TEXT)
        for is_silent, reply in zip(silent, said.replies, strict=True)
    ]
    terms = {"n": 1.0, "accuracy": float(all(silent)), "accuracy_mapped": float(all(mapped))}
    marks = tuple(
        Mark(reply, "silence" if is_silent else "spoke")
        for reply, is_silent in zip(said.replies, mapped, strict=True)
    )
    return ItemScore(terms, marks, terms["accuracy"])


def _pt_figures(total: Terms) -> Figures:
    num = total.get("n", 0.0)
    names = ("accuracy", "accuracy_mapped")
    return {
        "n": round(num),
        **{name: percent(total[name] / num) if num else None for name in names},
    }
