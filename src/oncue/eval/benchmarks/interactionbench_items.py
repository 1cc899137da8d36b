"""The files of InteractionBench: one JSON object per video, and JSON lines with the options and the
key of the items that have a multiple-choice form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from oncue.errors import DataError
from oncue.eval.benchmarks.interactionbench_text import LETTERS, last_number
from oncue.eval.streams.official import files_of
from oncue.eval.streams.stream import Item, Stream
from oncue.fields import IdText, NonEmptyText, Seconds, field_as, field_or, read_as
from oncue.json_files import json_lines, json_object_in
from oncue.types import GoldTurn, Question, TimeSpan

SILENT = "SHOULD_REMAIN_SILENT"
AT_ONCE, ONCE, MANY = "A", "B", "C"  # time types
WATCHED_AFTER_S = 10.0  # how long a model may answer a question of type A
_COUNTING = "counting"
_EXPECTED = 'annotations of one video of InteractionBench, {"video_id", "duration_s", "items"}'
_EXPECTED_KEY = (
    'the multiple-choice key {"item_id", "correct_index", "answer_text", "distractors"} or options '
    '{"item_id", "stem", "options"}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    video_id: IdText | None = None
    duration_s: Seconds | None = None
    items: tuple[Any, ...]


def _object_or_empty(value: Any) -> Any:
    """What is no object counts as an answer without time and text."""
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    time_s: Seconds | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    question: Any
    time_type: str | None = None
    answers: tuple[Annotated[_Answer, BeforeValidator(_object_or_empty)], ...] | None = None
    is_negative: Any = None
    auto_number: Any = None
    sub_tag: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScoredRow:
    """What is read only of items that can be scored."""

    question: NonEmptyText
    capability: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    correct_index: int
    answer_text: NonEmptyText
    distractors: tuple[NonEmptyText, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    stem: str | None = None
    options: tuple[NonEmptyText, ...]


@dataclass(frozen=True, slots=True)
class Gold:
    """What an item is scored by. `events`: when an answer is due and which, answers at one time
    merged, in time order; none where silence is due. `correct`: the right option, where there are
    `options`. `final_count`: where counting is asked for."""

    capability: str
    time_type: str
    events: tuple[tuple[float, str], ...]
    duration_s: float
    is_counting: bool = False
    final_count: float | None = None
    options: tuple[str, ...] = ()
    correct: int = 0


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of an item in order, which is right (None where only the options are known), and
    the question that goes with them."""

    options: tuple[str, ...]
    correct: int | None = None
    stem: str = ""


def read_items(annotations: Sequence[Path], early_s: float, late_s: float) -> Sequence[Item[Gold]]:
    """The items that can be scored, in the order of domains and videos.

    `early_s` and `late_s`: how far around its time an event is shown as due. Items without a time
    type, or without an answer that has a time, cannot be scored and are left out.
    """
    keys = [path for path in annotations if path.suffix == ".jsonl"]
    choices = _choices_of(keys)
    items = []
    for given in annotations:
        if given in keys:
            continue
        inner = given / "annotations"
        paths = files_of(inner if inner.is_dir() else given, "*.json")
        for path in sorted(paths, key=lambda p: (*p.parent.parts, p.stem)):
            items += _items_of(path, choices, early_s, late_s)
    if not items:
        raise DataError(
            f"{', '.join(map(str, annotations))}: no item that can be scored; give the folder of "
            "annotations, and the multiple-choice key beside it"
        )
    return items


def _items_of(
    path: Path, choices: Mapping[str, Choices], early_s: float, late_s: float
) -> list[Item[Gold]]:
    video = read_as(_Video, json_object_in(path, _EXPECTED), str(path))
    name = video.video_id or path.stem
    items = []
    for number, row in enumerate(video.items):
        where, item_id = f"{path}, item {number}", f"{name}#{number}"
        gold = _gold_of(row, where, video.duration_s or 0.0, choices.get(item_id))
        if gold is not None:
            asked = _question_of(row, where, gold, choices.get(item_id))
            items.append(_item_of(item_id, name, gold, asked, early_s, late_s))
    return items


def _item_of(
    item_id: str, video: str, gold: Gold, asked: Question, early_s: float, late_s: float
) -> Item[Gold]:
    end_s = asked.time_s + WATCHED_AFTER_S if gold.time_type == AT_ONCE else None
    due = tuple(
        GoldTurn(
            text,
            TimeSpan(max(0.0, time_s - early_s), time_s + late_s),
            asked.text,
            visible_s=time_s,
        )
        for time_s, text in gold.events
    )
    stream = Stream(
        item_id,
        video,
        (asked,),
        due,
        end_s=end_s if not gold.duration_s else min(end_s or gold.duration_s, gold.duration_s),
        duration_s=gold.duration_s or None,
        subset=gold.capability,
    )
    return Item(stream, gold)


def _gold_of(value: Any, where: str, duration_s: float, choices: Choices | None) -> Gold | None:
    """None for an item that cannot be scored."""
    row = read_as(_Row, value, where)
    answers = [(answer.time_s, answer.content or "") for answer in row.answers or ()]
    timed = [(t, text) for t, text in answers if t is not None and SILENT not in text.upper()]
    all_silent = bool(answers) and all(SILENT in text.upper() for _, text in answers)
    is_negative = bool(row.is_negative) or all_silent
    if row.time_type not in (AT_ONCE, ONCE, MANY) or not (is_negative or timed):
        return None
    if is_negative:
        events: tuple[tuple[float, str], ...] = ()
    elif row.time_type == AT_ONCE:
        events = ((_asked_s(value, where), timed[0][1]),)
    else:
        events = _merged(timed)
    counts = [n for _, text in reversed(timed) if (n := last_number(text)) is not None]
    options = () if choices is None or choices.correct is None else choices.options
    return Gold(
        read_as(_ScoredRow, value, where).capability or "UNKNOWN",
        row.time_type,
        events,
        duration_s,
        bool(row.auto_number) or row.sub_tag == _COUNTING,
        counts[0] if counts else None,
        options,
        (choices.correct or 0) if choices else 0,
    )


def _merged(timed: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Answers in time order; the texts of those at one time are joined."""
    by_time: dict[float, list[str]] = {}
    for time_s, text in timed:
        by_time.setdefault(time_s, []).append(text)
    return tuple(
        (time_s, "; ".join(text for text in texts if text))
        for time_s, texts in sorted(by_time.items())
    )


def _question_of(row: Any, where: str, gold: Gold, choices: Choices | None) -> Question:
    """Standing requests are there from the start; a question of type A is asked at its time."""
    text = read_as(_ScoredRow, row, where).question
    if choices is not None:
        lines = [f"{x}. {option}" for x, option in zip(LETTERS, choices.options, strict=False)]
        text = "\n".join([choices.stem or text, *lines])
    return Question(text, _asked_s(row, where) if gold.time_type == AT_ONCE else 0.0)


def _asked_s(row: Any, where: str) -> float:
    """Not read where the time of the question plays no part."""
    return field_or(Seconds, row, "question_time_s", where, 0.0)


def _choices_of(paths: Sequence[Path]) -> Mapping[str, Choices]:
    """By item id. The key says which option is right; the options file has the question."""
    found: dict[str, Choices] = {}
    for path in paths:
        for where, row in json_lines(path, _EXPECTED_KEY):
            item_id = field_as(IdText, row, "item_id", where)
            before = found.get(item_id)
            new = _key_of(row, where) if "correct_index" in row else _options_of(row, where)
            if before is not None and before.options != new.options:
                raise DataError(
                    f"{where}: the options of {item_id!r} differ from those of another file: "
                    f"{new.options!r:.80} and {before.options!r:.80}"
                )
            old = before or Choices(())
            correct = old.correct if new.correct is None else new.correct
            found[item_id] = Choices(new.options, correct, new.stem or old.stem)
    return found


def _key_of(row: Any, where: str) -> Choices:
    key = read_as(_Key, row, where)
    correct, options = key.correct_index, [*key.distractors]
    if not 0 <= correct <= len(options):
        raise DataError(f"{where}: 'correct_index' {correct} is none of {len(options) + 1} options")
    options.insert(correct, key.answer_text)
    return Choices(_counted(options, where), correct)


def _options_of(row: Any, where: str) -> Choices:
    given = read_as(_Options, row, where)
    return Choices(_counted(given.options, where), None, given.stem or "")


def _counted(options: Sequence[str], where: str) -> tuple[str, ...]:
    if not 2 <= len(options) <= len(LETTERS):
        raise DataError(f"{where}: there must be 2 to {len(LETTERS)} options, got {len(options)}")
    return tuple(options)
