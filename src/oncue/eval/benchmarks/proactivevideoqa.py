"""ProactiveVideoQA (arXiv 2507.09313): is the right thing said, and early enough, by PAUC.

Annotations: the `anno.json` of each subset, `oncue.data.gold`. Official output: JSON lines of
MMDuet2's evaluation, {"question_id", "model_response_list": [{"role", "content", "time"}]}.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.aio import gathered
from oncue.data.gold import GoldSample, load_gold
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.proactivevideoqa_card import CARD, SUBSETS
from oncue.eval.benchmarks.proactivevideoqa_figures import (
    HEADLINE_OMEGA,
    OMEGAS,
    figures_of,
    lines_of,
)
from oncue.eval.streams.benchmark import (
    BlindRow,
    BySubset,
    Card,
    Figures,
    Headline,
    ItemScore,
    Mark,
)
from oncue.eval.streams.blind import every, silence
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import MAX_UNSCORED_SHARE
from oncue.fields import AnyText, IdText, NonEmptyText, Seconds, field_as, read_as
from oncue.json_files import json_rows
from oncue.render.actions import TextFormat
from oncue.scoring.grader import GradeKey, Grader
from oncue.scoring.judge_prompts import coverage_rubric
from oncue.scoring.redundancy import DuplicateCount, Scope, count_repeats
from oncue.scoring.score import Unscored
from oncue.scoring.spans import replies_in
from oncue.scoring.turn_scores import TurnScore, score_turn
from oncue.types import GoldTurn, Task, TimedReply

MAX_SCORE = 2
RUBRIC = coverage_rubric(MAX_SCORE)

_EXPECTED = (
    'a row of MMDuet2\'s output, {"question_id", "model_response_list": [{"role", "content", '
    '"time"}]}'
)
_SILENCE = TextFormat().silence_text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    question_id: IdText
    model_response_list: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    content: AnyText
    time: Seconds


@dataclass(frozen=True, slots=True)
class ProactiveVideoQa:
    """The benchmark, scored as by its released scorer."""

    duplicate_scope: Scope = "within_turn"
    """What a reply may repeat: an earlier one of the same gold turn, or any of the whole
    dialogue."""

    max_unscored_share: float = MAX_UNSCORED_SHARE
    """No headline is given where the judge left out more than this share of the replies."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a share outside 0 to 1."""
        if not 0 <= self.max_unscored_share <= 1:
            raise ConfigError(
                f"max_unscored_share must be from 0 to 1, got {self.max_unscored_share}"
            )

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        return tuple(Headline(name, ("headlines", name)) for name in ("PAUC", "mean", *SUBSETS))

    @property
    def needs_grader(self) -> bool:
        return True

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Task]]:
        names = subset_names(annotations)
        items = [
            _item_of(sample, names[number])
            for number, path in enumerate(annotations)
            for sample in load_gold(path)
        ]
        seen = Counter(item.stream.item_id for item in items)
        twice = next((item_id for item_id, number in seen.items() if number > 1), None)
        if twice is not None:
            raise DataError(
                f"question_id {twice!r} is in more than one of the annotation files "
                f"{', '.join(map(str, annotations))}; give each file once"
            )
        return items

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        for where, row in json_rows(path, _EXPECTED):
            output = read_as(_Output, row, where)
            turns = enumerate(output.model_response_list, 1)
            said = [_reply_of(turn, f"{where}, turn {number}") for number, turn in turns]
            replies = tuple(reply for reply in said if reply is not None)
            yield where, Prediction(output.question_id, replies)

    async def score(self, item: Item[Task], said: Prediction, grader: Grader | None) -> ItemScore:
        """`grader` may be None for silence."""
        task = item.gold
        turns = await gathered(
            [_score_turn(task, number, said.replies, grader) for number in range(len(task.gold))]
        )
        duplicates = await self._duplicates(task, said.replies, grader)
        terms = {
            "n_samples": 1.0,
            "n_turns": float(len(turns)),
            **{
                f"pauc_{omega:g}": sum(turn.pauc[column] for turn in turns)
                for column, omega in enumerate(OMEGAS)
            },
            "n_judged": float(sum(len(turn.replies) for turn in turns)),
            "n_unscored": float(sum(turn.num_unscored for turn in turns)),
            "n_duplicate": float(duplicates.num_duplicate),
            "n_followups": float(duplicates.num_decided),
            "n_undecided": float(duplicates.num_unscored),
            "n_turns_with_followups": float(sum(_has_followup(g, said.replies) for g in task.gold)),
            "repetition_unknown": float(grader is not None and not grader.knows_repetition),
        }
        column = OMEGAS.index(HEADLINE_OMEGA)
        worth = sum(turn.pauc[column] for turn in turns) / len(turns) if turns else None
        return ItemScore(terms, _marks(said.replies, turns), worth)

    async def _duplicates(
        self, task: Task, replies: Sequence[TimedReply], grader: Grader | None
    ) -> DuplicateCount:
        if grader is None or not grader.knows_repetition:
            return DuplicateCount()

        async def repeats(
            number: int | None, reply: TimedReply, before: tuple[str, ...]
        ) -> bool | Unscored:
            key = GradeKey(task.task_id, number, reply.time_s)
            return await grader.repeats(key, before, reply.text.strip())

        spans = [gold.span for gold in task.gold]
        return await count_repeats(replies, spans, repeats, self.duplicate_scope)

    def figures(self, sums: BySubset) -> Figures:
        return figures_of(sums, self.max_unscored_share)

    def blind_rows(self) -> Sequence[BlindRow[Task]]:
        return silence(), BlindRow("its question, every 1 s", _echo, needs_grader=True)

    def remarks(self, figures: Figures) -> list[str]:
        """Each subset, its counts, and why it has no headline."""
        return lines_of(figures, self.max_unscored_share)


def subset_names(annotations: Sequence[Path]) -> tuple[str, ...]:
    """A name for each file: that of its folder, with the file's own where a folder has several, and
    the whole path where those are the same, too."""
    paths = [Path(os.path.abspath(path)) for path in annotations]  # links stay as they are named
    forms = (
        [path.parent.name for path in paths],
        [f"{path.parent.name}/{path.stem}" for path in paths],
        [str(path) for path in annotations],
    )
    counts = [Counter(names) for names in forms]
    return tuple(
        next(
            (f[n] for f, count in zip(forms, counts, strict=True) if count[f[n]] == 1), forms[-1][n]
        )
        for n in range(len(paths))
    )


def _item_of(sample: GoldSample, subset: str) -> Item[Task]:
    task = sample.task
    stream = Stream(
        task.task_id,
        sample.video,
        task.questions,
        task.gold,
        duration_s=task.duration_s,
        subset=subset,
    )
    return Item(stream, task)


def _reply_of(value: Any, where: str) -> TimedReply | None:
    """What an assistant turn said; None for silence and for turns of users."""
    if field_as(NonEmptyText, value, "role", where) != "assistant":
        return None
    turn = read_as(_Turn, value, where)
    is_silent = turn.content.strip() in ("", _SILENCE)
    return None if is_silent else TimedReply(turn.time, turn.content)


async def _score_turn(
    task: Task, number: int, replies: Sequence[TimedReply], grader: Grader | None
) -> TurnScore:
    gold = task.gold[number]

    async def mark_of(reply: TimedReply, texts: Sequence[str]) -> int | Unscored:
        if grader is None:
            raise ValueError(f"a reply to {task.task_id!r} needs a grader")
        key = GradeKey(task.task_id, number, reply.time_s)
        level = await grader.grade(RUBRIC, key, gold.question, gold.content, " ".join(texts))
        return level if isinstance(level, Unscored) else level - RUBRIC.lowest

    return await score_turn(task.task_id, gold, replies, mark_of, MAX_SCORE, OMEGAS)


def _marks(replies: Sequence[TimedReply], turns: Sequence[TurnScore]) -> tuple[Mark, ...]:
    """What became of every reply, in each gold turn that it lies in."""
    return tuple(
        Mark(
            reply,
            "; ".join(_verdict(reply, turn) for turn in turns if reply.time_s in turn.gold.span)
            or "in no span",
        )
        for reply in sorted(replies, key=lambda r: r.time_s)
    )


def _verdict(reply: TimedReply, turn: TurnScore) -> str:
    marked = next((found for found in turn.replies if found.reply == reply), None)
    if marked is None:
        return "exact duplicate"
    if isinstance(marked.mark, Unscored):
        return "unscored"
    return f"level {marked.mark + RUBRIC.lowest}{', late' if marked.late else ''}"


def _has_followup(gold: GoldTurn, replies: Sequence[TimedReply]) -> bool:
    return len(replies_in(replies, gold.span)) > 1


def _echo(item: Item[Task]) -> Prediction:
    return every(1.0, item.stream.questions[0].text).predict(item)
