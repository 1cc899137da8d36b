"""OVO-Bench: questions about the past, the present and the future of a stream, each asked once the
video has been shown up to a moment. The scores are those of the official offline protocol.

An item is one question: its id is that of its row, in forward tasks with the number of the probe,
"1558_0". A prediction is the response; official output is read by `ovo_rows.result_rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from oncue.errors import DataError
from oncue.eval.benchmarks.ovo_answers import is_official, is_strict
from oncue.eval.benchmarks.ovo_card import CARD
from oncue.eval.benchmarks.ovo_rows import (
    FORWARD,
    GROUPS,
    annotation_rows,
    probes_of,
    result_rows,
    row_id,
    task_of,
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
from oncue.eval.streams.blind import silence
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent
from oncue.fields import Index, Must, NonEmptyText, Seconds, field_as, read_as
from oncue.render.options import LETTERS, labelled
from oncue.scoring.grader import Grader
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

RULES = ("official", "strict")
YES_NO = {0: "No", 1: "Yes"}
BLIND_TEXTS = ("Yes", "No", "Yes No", "1", "A", "A B C D E Yes No 1")
Shares = Mapping[str, float | None]
_YesNo = Annotated[int, Field(ge=0, le=1), Must("a whole number, 0 to 1")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    video: NonEmptyText
    realtime: Seconds
    question: NonEmptyText
    options: tuple[Any, ...]
    gt: Index


@dataclass(frozen=True, slots=True)
class OvoGold:
    """A question: the right letter, number, Yes or No; and its options, if it has any."""

    task: str
    answer: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unwrapped(Prediction):
    """A prediction whose response was a list of one text."""


@dataclass(frozen=True, slots=True)
class OvoBench:
    """OVO-Bench, by rules alone."""

    part: Literal["all", "backward", "realtime", "forward"] = "all"
    """Which of the three groups of tasks is scored; rows of others are passed over."""

    no_response: Literal["wrong", "skipped"] = "wrong"
    """A response of null. wrong: as by the official score. skipped: left out in forward tasks, as
    in lmms-eval."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def _groups(self) -> Sequence[str]:
        return tuple(GROUPS) if self.part == "all" else (self.part,)

    @property
    def _tasks(self) -> Sequence[str]:
        return tuple(task for group in self._groups for task in GROUPS[group])

    @property
    def headlines(self) -> Sequence[Headline]:
        groups = [Headline(g, ("groups", g, "official")) for g in self._groups]
        tasks = [Headline(t, ("tasks", t, "official")) for t in self._tasks]
        if self.part == "all":
            total = (
                Headline("total", ("total", "official")),
                Headline("strict", ("total", "strict")),
            )
            return *total, *groups, *tasks
        return *groups, Headline("strict", ("groups", self.part, "strict")), *tasks

    @property
    def needs_grader(self) -> bool:
        return False

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[OvoGold]]:
        return [
            item
            for where, row in annotation_rows(annotations, self._tasks)
            for item in _items_of(row, where)
        ]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        for where, row in result_rows(path, self._tasks):
            number = row_id(row, where)
            if task_of(row, where) not in FORWARD:
                yield where, _prediction(number, 0.0, row, where)
                continue
            for index, place, probe in probes_of(row, where):
                time_s = field_as(Seconds, probe, "realtime", place)
                yield place, _prediction(f"{number}_{index}", time_s, probe, place)

    async def score(
        self,
        item: Item[OvoGold],
        said: Prediction,
        grader: Grader | None,  # noqa: ARG002 - rules alone
    ) -> ItemScore:
        gold = item.gold
        if said.is_missing:
            return ItemScore({})
        if not said.replies:
            skipped = self.no_response == "skipped" and gold.task in FORWARD
            return ItemScore({"n": float(not skipped), "n_none": 1.0}, worth=0.0)
        reply = said.replies[-1]
        official = is_official(gold.task, reply.text, gold.answer)
        strict = is_strict(gold.task, reply.text, gold.answer, gold.options)
        terms = {
            "n": 1.0,
            "official": float(official),
            "strict": float(strict),
            "n_unwrapped": float(isinstance(said, _Unwrapped)),
        }
        verdict = "right" if official else "wrong"
        return ItemScore(terms, (Mark(reply, verdict),), float(official))

    def figures(self, sums: BySubset) -> Figures:
        terms = {task: sums.get(task, {}) for task in self._tasks}
        shares = {task: _shares([of]) for task, of in terms.items()}
        groups = {group: _means(shares, GROUPS[group]) for group in self._groups}
        whole = {
            "total": _percents(_means(groups, self._groups)),
            "mean_of_tasks": _percents(_means(shares, self._tasks)),
        }
        return {
            **(whole if self.part == "all" else {}),
            "groups": {group: _percents(of) for group, of in groups.items()},
            "tasks": {t: {**_counts([of]), **_percents(shares[t])} for t, of in terms.items()},
            "mean_of_questions": _percents(_shares(terms.values())),
            **_counts(terms.values()),
            "n_unwrapped": _sum("n_unwrapped", terms.values()),
        }

    def remarks(self, figures: Figures) -> list[str]:
        """Unwrapped responses, and tasks without any."""
        remarks = []
        if num := figures["n_unwrapped"]:
            remarks.append(f"{num} responses were lists of one text; the text was scored")
        if without := [task for task, of in figures["tasks"].items() if not of["n"]]:
            names = ", ".join(without)
            alone = "; --part scores one group alone" if self.part == "all" else ""
            remarks.append(f"no response to {names}: a mean that needs them is left out{alone}")
        return remarks

    def blind_rows(self) -> Sequence[BlindRow[OvoGold]]:
        return silence(), *(_always(text) for text in BLIND_TEXTS)


def _items_of(row: Any, where: str) -> Iterator[Item[OvoGold]]:
    number, task = row_id(row, where), task_of(row, where)
    if task in FORWARD:
        video: str = field_as(NonEmptyText, row, "video", where)
        for index, place, probe in probes_of(row, where):
            asked, answer = _asked_at(task, row, probe, place)
            end_s: float = field_as(Seconds, probe, "realtime", place)
            yield _item(f"{number}_{index}", video, asked, end_s, OvoGold(task, answer))
        return
    choice = read_as(_Choice, row, where)
    texts, right = choice.options, choice.gt
    if not 2 <= len(texts) <= len(LETTERS) or not all(isinstance(t, str) and t for t in texts):
        raise DataError(f"{where}: 'options' must be 2 to {len(LETTERS)} texts, got {texts!r:.80}")
    if right >= len(texts):
        raise DataError(f"{where}: 'gt' must be a whole number, 0 to {len(texts) - 1}, got {right}")
    options = labelled(texts)
    asked = "\n".join((choice.question, *options))
    gold = OvoGold(task, LETTERS[right], options)
    yield _item(number, choice.video, asked, choice.realtime, gold)


def _item(item_id: str, video: str, asked: str, end_s: float, gold: OvoGold) -> Item[OvoGold]:
    """The question `asked` where the stream ends."""
    due = GoldTurn(gold.answer, TimeSpan(0.0, end_s), asked, visible_s=end_s)
    stream = Stream(
        item_id, video, (Question(asked, end_s),), (due,), end_s=end_s, subset=gold.task
    )
    return Item(stream, gold)


def _asked_at(task: str, row: Any, probe: Any, where: str) -> tuple[str, str]:
    """What is asked at a probe, in our words, and the right answer."""
    if task == "REC":
        activity, count = (
            field_as(NonEmptyText, row, "activity", where),
            field_as(Index, probe, "count", where),
        )
        asked = f"How many times has this happened so far: {activity}? Answer with one number."
        return asked, str(count)
    answer = YES_NO[field_as(_YesNo, probe, "type", where)]
    if task == "SSR":
        step = field_as(NonEmptyText, probe, "step", where)
        return f"Is this step being done right now: {step}? Answer Yes or No.", answer
    question = field_as(NonEmptyText, row, "question", where)
    asked = f"{question} Answer Yes if the video so far shows the answer to this question, else No."
    return asked, answer


def _prediction(item_id: str, time_s: float, row: Any, where: str) -> Prediction:
    response = field_as(Any, row, "response", where)
    if response is None:
        return Prediction(item_id)
    made = Prediction
    if isinstance(response, list) and len(response) == 1:
        made, response = _Unwrapped, response[0]
    if not isinstance(response, str):
        raise DataError(
            f"{where}: 'response' must be text, a list of one text, or null, got {response!r:.80}"
        )
    return made(item_id, (TimedReply(time_s, response),))


def _sum(name: str, terms: Iterable[Terms]) -> int:
    return round(sum(of.get(name, 0.0) for of in terms))


def _counts(terms: Collection[Terms]) -> Figures:
    names = {"n": "n", "n_right": "official", "n_none": "n_none"}
    return {name: _sum(term, terms) for name, term in names.items()}


def _shares(terms: Collection[Terms]) -> Shares:
    """The share of right responses by each rule; None without responses."""
    num = _sum("n", terms)
    return {rule: _sum(rule, terms) / num if num else None for rule in RULES}


def _means(shares: Mapping[str, Shares], names: Sequence[str]) -> Shares:
    """The means over `names`; None where one has no share."""
    means: dict[str, float | None] = {}
    for rule in RULES:
        known = [share for name in names if (share := shares[name][rule]) is not None]
        means[rule] = sum(known) / len(known) if len(known) == len(names) else None
    return means


def _percents(shares: Shares) -> Figures:
    return {rule: percent(share) for rule, share in shares.items()}


def _always(text: str) -> BlindRow[OvoGold]:
    """Gives one and the same response to everything."""

    def predict(item: Item[OvoGold]) -> Prediction:
        asked = item.stream.questions[0]
        return Prediction(item.stream.item_id, (TimedReply(asked.time_s, text),))

    return BlindRow(f'always "{text}"', predict)
