"""StreamingBench, Proactive Output (PO): say a given word when an event happens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from oncue.errors import DataError
from oncue.eval.benchmarks.streamingbench_po_items import (
    HISTORY,
    TOLERANCE_S,
    PoGold,
    Result,
    item_of,
    read_questions,
)
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
from oncue.eval.streams.stream import Item, Prediction
from oncue.eval.table import percent
from oncue.fields import read_as
from oncue.scoring.grader import Grader
from oncue.types import TimedReply

WINDOWS_S = (1, 2, 3, 4)
RECALL_WINDOWS_S = (1, 2)


def _published(who: str, value: float, protocol: str, source: str) -> Published:
    return Published(who, {"within 2 s": value}, protocol, source)


_MMDUET2 = "arXiv 2512.06810, Table 5"
_ANSWER = "; whether the answer must be right is not stated"
CARD = Card(
    name="streamingbench-po",
    title="StreamingBench proactive output",
    measures="whether a model says the given words within seconds of the event that it waits for",
    data="src/data/questions_proactive.json (250 questions) or questions_proactive_50.json (51 of "
    "them) of THUNLP-MT/StreamingBench, and its videos",
    licence="MIT (annotations)",
    source="StreamingBench (arXiv 2411.03628), src/data/count.py @8929923",
    defects=(
        "The official poll quotes the gold output, so it tells the model what to say.",
        "The gold output is looked for as a substring with its letter case: 'Google it' holds 'Go',"
        " and 13 holds 3. 'answer_words' asks for whole words, in any case.",
        "Questions without a result of the model are left out of the official shares.",
        "A question that was never answered is judged by the time of its last poll.",
        "Six gold outputs are not what the question asks for, '1113' for 113 among them.",
        "The recall of any detection is 100 % for talk at every second.",
    ),
    published=(
        _published("MMDuet2 (RL)", 34.69, f"85 of 245, 1 frame per turn{_ANSWER}", _MMDUET2),
        _published("MMDuet2 (SFT)", 19.59, f"48 of 245, 1 frame per turn{_ANSWER}", _MMDUET2),
        _published("MMDuet", 29.44, f"fits 73 of 248{_ANSWER}", _MMDUET2),
        _published("Dispider", 25.34, f"fits 56 of 221 or 37 of 146{_ANSWER}", _MMDUET2),
        _published("VideoLLM-online", 1.96, f"fits 1 of 51{_ANSWER}", _MMDUET2),
        _published("Em-Garde", 38.0, "first detection, time alone, 250 questions", "Em-Garde"),
        _published("Seed1.5-VL", 82.8, "not stated", "README of StreamingBench"),
    ),
)


@dataclass(frozen=True, slots=True)
class StreamingBenchPo:
    """StreamingBench PO, by rules alone."""

    protocol: Literal["push", "polling"] = "push"
    """push: the first reply counts, over all questions. polling: the last one counts, over the
    questions that the file answers, as in the official score."""

    model_key: str | None = None
    """The name of the model in a file of --format official; needed where it holds several."""

    @property
    def card(self) -> Card:
        pushed = self.protocol == "push"
        return CARD if pushed else replace(CARD, missing="are left out of the official shares")

    @property
    def headlines(self) -> Sequence[Headline]:
        of = "of_all" if self.protocol == "push" else "of_predicted"
        official = (
            Headline("within 2 s", (of, "time", "2")),
            Headline("with answer", (of, "answer", "2")),
            Headline("whole words", (of, "answer_words", "2")),
        )
        if self.protocol == "polling":
            return official
        others = (Headline(f"within {w} s", (of, "time", str(w))) for w in WINDOWS_S if w != 2)
        return *official, *others, Headline("any within 2 s", (of, "any_detection_recall", "2"))

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[PoGold]]:
        return [
            item_of(entry, question, where)
            for path in annotations
            for where, entry, question in read_questions(path)
        ]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        questions = list(read_questions(path))
        model = self._model_in(path, [question for _, _, question in questions])
        for where, entry, question in questions:
            if model in question:
                yield where, self._said(item_of(entry, question, where), question, model, where)

    def _model_in(self, path: Path, questions: Sequence[Mapping[str, Any]]) -> str:
        """The key of the results to be scored."""
        found = dict.fromkeys(
            name
            for question in questions
            for name, value in question.items()
            if isinstance(value, Mapping) and HISTORY in value
        )
        known = ", ".join(found) or "none"
        if self.model_key not in (*found, None):
            raise DataError(f"{path} holds no result of {self.model_key!r}; it has {known}")
        if not found:
            raise DataError(f'{path} holds no result, {{MODEL: {{"{HISTORY}"}}}} in a question')
        if not self.model_key and len(found) > 1:
            raise DataError(f"{path} holds results of {known}; name one with --model-key")
        return self.model_key or known

    def _said(
        self, item: Item[PoGold], question: Mapping[str, Any], model: str, where: str
    ) -> Prediction:
        """What a model's history says. Polls that were answered with no are silent turns."""
        result = read_as(Result, question[model], f"{where}, {model!r}")
        turns, answered = result.dialog_history, result.answered
        if not turns:
            raise DataError(f"{where}, {model!r}: {HISTORY!r} is empty; expected its turns")
        last = turns[-1].reply()
        replies: tuple[TimedReply, ...] = (last,)
        if answered is False:
            # count.py judges the last poll alone, so one that is on time counts
            on_time = abs(last.time_s - item.gold.time_s) <= TOLERANCE_S
            replies = (last,) if self.protocol == "polling" and on_time else ()
        elif self.protocol == "push" and (answered is None or answered is True):
            said = (turn.reply() for turn in turns if turn.role == "assistant")
            replies = tuple(reply for reply in said if reply.text.strip())
        return Prediction(item.stream.item_id, replies)

    async def score(
        self,
        item: Item[PoGold],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - rules alone
    ) -> ItemScore:
        gold = item.gold
        scored = said.replies[0 if self.protocol == "push" else -1] if said.replies else None
        terms = {
            "n": 1.0,
            "n_predicted": float(not said.is_missing),
            "n_answered": float(scored is not None),
        }
        off_s = abs(scored.time_s - gold.time_s) if scored else float("inf")
        text = scored.text if scored else ""
        for window_s in WINDOWS_S:
            on_time = off_s <= window_s
            terms[f"time_{window_s}"] = float(on_time)
            terms[f"answer_{window_s}"] = float(on_time and gold.output in text)
            terms[f"answer_words_{window_s}"] = float(on_time and _has_words(text, gold.output))
        for window_s in RECALL_WINDOWS_S:
            near = any(abs(r.time_s - gold.time_s) <= window_s for r in said.replies)
            terms[f"any_detection_recall_{window_s}"] = float(near)
        marks = tuple(Mark(r, _verdict(r, scored, gold)) for r in said.replies)
        return ItemScore(terms, marks, terms[f"answer_{TOLERANCE_S}"])

    def figures(self, sums: BySubset) -> Figures:
        total = sums.get("", {})
        return {
            "n": round(total.get("n", 0)),
            "n_predicted": round(total.get("n_predicted", 0)),
            "n_answered": round(total.get("n_answered", 0)),
            "of_all": _shares(total, "n"),
            "of_predicted": _shares(total, "n_predicted"),
        }

    def blind_rows(self) -> Sequence[BlindRow[PoGold]]:
        at_once = _in_its_words(once_after(1.0, ""))
        if self.protocol == "polling":
            return silence(), replace(at_once, name="always yes, in the words of the question")
        delayed = (_in_its_words(once_after(delay_s, "")) for delay_s in (6.0, 7.0))
        return silence(), at_once, *delayed, _in_its_words(every(1.0, ""))


def _has_words(text: str, words: str) -> bool:
    """Whether `words` are in `text` as whole words, in any letter case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def _verdict(reply: TimedReply, scored: TimedReply | None, gold: PoGold) -> str:
    if reply is not scored:
        return "not scored"
    off_s = reply.time_s - gold.time_s
    if abs(off_s) > TOLERANCE_S:
        return "early" if off_s < 0 else "late"
    return "right" if gold.output in reply.text else "on time, other words"


def _shares(total: Terms, denominator: str) -> Figures:
    num = total.get(denominator, 0.0)

    def share(name: str) -> float | None:
        return percent(total[name] / num) if num else None

    windows = {
        name: {str(w): share(f"{name}_{w}") for w in WINDOWS_S}
        for name in ("time", "answer", "answer_words")
    }
    recall = {str(w): share(f"any_detection_recall_{w}") for w in RECALL_WINDOWS_S}
    return {**windows, "any_detection_recall": recall}


def _in_its_words(row: BlindRow[Any]) -> BlindRow[PoGold]:
    """The policy, saying the words of the question, which quote the gold output in most items."""

    def predict(item: Item[PoGold]) -> Prediction:
        said, text = row.predict(item), item.stream.questions[0].text
        return replace(said, replies=tuple(replace(r, text=text) for r in said.replies))

    return replace(row, predict=predict)
