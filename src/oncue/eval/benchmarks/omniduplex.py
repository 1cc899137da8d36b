"""Omni-DuplexEval, proactive part: reminders at events, and corrections of wrong statements.

All that is said in the 10 s after an event is judged as one reminder. Annotations: the rows of one
split per file, JSON lines or an array, with the name of the split (PR_event_reminder.jsonl): {"id",
"question_text", "answer1"?, "reminder1"?, "reminder2"?, "video"?, "video_duration"?}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from oncue.errors import DataError
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
from oncue.eval.streams.official import files_of
from oncue.eval.streams.ratios import pooled_terms, ratio, ungraded
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.eval.table import percent
from oncue.fields import (
    IdText,
    NonEmptyText,
    Seconds,
    field_as,
    field_or,
    first_filled,
    read_as,
)
from oncue.json_files import json_file, json_rows
from oncue.scoring.grader import GradeKey, Grader, Rubric
from oncue.scoring.score import Unscored
from oncue.scoring.spans import replies_in, replies_outside
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan

WINDOW_S = 10.0  # after an event, in which its reminder counts
CORRECTION, EVENT, POST_EVENT = "correction", "event_reminder", "post_event_reminder"
SPLITS = (CORRECTION, EVENT, POST_EVENT)
TEXTS, TIMES = ("text", "sentence", "content"), ("current_time", "start", "time")
REMINDER = Rubric(
    "omniduplex-reminder",
    0,
    1,
    "Someone watches a video and has asked an assistant to say when a certain event happens. Judge "
    "what it said just after that moment. 1: it clearly says that this event has happened, in "
    "whatever words. 0: it is vague, describes something else, or speaks of another event.",
)
CORRECTED = Rubric(
    "omniduplex-correction",
    0,
    1,
    "Someone made a wrong statement about a video, and an assistant should correct it. Compare "
    "what the assistant said with the correction. 1: every wrong point is put right, about the "
    "same persons, things, actions and attributes. 0: a point is missing, wrong, or contradicted.",
)
_EXPECTED = 'rows of Omni-DuplexEval, {"id", "question_text", "reminder1"?, "answer1"?}'
_EXPECTED_RESPONSE = "a response of Omni-DuplexEval, a list of segments with text and time"

CARD = Card(
    name="omniduplex",
    title="Omni-DuplexEval, reminders and corrections",
    measures="whether a model says that an event has happened within 10 s of it, and whether it "
    "corrects a wrong statement",
    data="the splits PR_correction, PR_event_reminder and PR_post_event_reminder of "
    "Hothan/Omni-DuplexEval on Hugging Face, each written as PR_....jsonl",
    licence="MIT (code)",
    source="OpenBMB/Omni-DuplexEval, proactive_reminder.py @962cec4; it has no script that "
    "aggregates, so shares of samples are ours",
    defects=(
        "Only what is said in the windows is judged, so a model that talks all the time loses "
        "nothing; success without other replies counts only samples where nothing else was said.",
        "A failed judgement is a failure. Samples without a response file are not counted.",
    ),
    missing="are not counted, as in the official script; with_missing counts them as failures",
)


def _from_text(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


_Time = Annotated[Seconds, BeforeValidator(_from_text)]  # some rows have text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: IdText
    question_text: NonEmptyText
    answer1: str | None = None
    video: Any = None
    video_duration: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Gold:
    """The windows of the reminders due; without any, all that is said is compared with the
    `correction`."""

    windows: tuple[TimeSpan, ...]
    correction: str = ""


@dataclass(frozen=True, slots=True)
class OmniDuplex:
    """How the proactive part of Omni-DuplexEval is scored."""

    @property
    def card(self) -> Card:
        return CARD

    @property
    def headlines(self) -> Sequence[Headline]:
        names = {"success": "success", "events": "event_success"}
        names |= {"success without other replies": "quiet_success", "with missing": "with_missing"}
        return tuple(Headline(name, ("overall", key)) for name, key in names.items())

    @property
    def needs_grader(self) -> bool:
        return True

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[Gold]]:
        return [
            _item_of(_split_of(path.stem, str(path)), row, where)
            for path in annotations
            for where, row in json_rows(path, _EXPECTED)
        ]

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        """A folder with SPLIT/ID.json for each response."""
        for file in files_of(path, "*.json"):
            split = _split_of(file.parent.name, str(file))
            yield str(file), Prediction(f"{split}/{file.stem}", _response_of(file))

    async def score(self, item: Item[Gold], said: Prediction, grader: Grader | None) -> ItemScore:
        if said.is_missing:
            return ItemScore({"n_missing": 1.0})
        assert grader is not None
        gold, asked = item.gold, item.stream.questions[0].text
        windows = gold.windows
        segments = [replies_in(said.replies, window) for window in windows] or [said.replies]
        num_right, num_unscored = 0, 0
        for number, segment in enumerate(segments):
            if not segment:
                continue
            key = GradeKey(item.stream.item_id, number, segment[0].time_s)
            text = " ".join(reply.text.strip() for reply in segment)
            rubric, due = (REMINDER, asked) if windows else (CORRECTED, gold.correction)
            grade = await grader.grade(rubric, key, asked, due, text)
            num_unscored += isinstance(grade, Unscored)
            num_right += grade == 1
        outside = replies_outside(said.replies, windows) if windows else ()
        success = num_right == len(segments)
        terms = {
            "n": 1.0,
            "success": float(success),
            "quiet_success": float(success and not outside),
            "num_due": float(len(segments)),
            "num_right": float(num_right),
            "num_outside": float(len(outside)),
            "num_unscored": float(num_unscored),
        }
        marks = tuple(Mark(r, "in no window" if r in outside else "judged") for r in said.replies)
        return ItemScore(terms, marks, float(success))

    def figures(self, sums: BySubset) -> Figures:
        return {
            "overall": _figures_of(pooled_terms(sums)),
            "subsets": {split: _figures_of(sums[split]) for split in SPLITS if split in sums},
        }

    def remarks(self, figures: Figures) -> list[str]:
        """How many replies could not be graded."""
        return ungraded(figures["overall"]["num_unscored"])

    def blind_rows(self) -> Sequence[BlindRow[Any]]:
        name = "every 1 s, that what was asked for has happened"
        return silence(), BlindRow(name, _always, needs_grader=True)


def _figures_of(terms: Terms) -> Figures:
    num, missing = terms.get("n", 0.0), terms.get("n_missing", 0.0)

    def share(name: str, whole: float) -> float | None:
        return percent(ratio(terms.get(name, 0.0), whole)) if whole else None

    counts = ("n", "n_missing", "num_due", "num_right", "num_outside", "num_unscored")
    return {
        "success": share("success", num),
        "event_success": share("num_right", terms.get("num_due", 0.0)),
        "quiet_success": share("quiet_success", num),
        "with_missing": share("success", num + missing),
        **{name: round(terms.get(name, 0.0)) for name in counts},
    }


def _split_of(name: str, where: str) -> str:
    split = name.lower().replace("-", "_").removeprefix("pr_")
    if split not in SPLITS:
        known = ", ".join(f"PR_{split}" for split in SPLITS)
        raise DataError(f"{where}: {name!r} is no split; expected one of {known}")
    return split


def _item_of(split: str, value: Mapping[str, Any], where: str) -> Item[Gold]:
    row = read_as(_Row, value, where)
    asked, answer = row.question_text, row.answer1 or ""
    names = ("reminder1", "reminder2") if split != CORRECTION else ()
    filled = [name for name in names if value.get(name) not in (None, "")]
    times = [field_as(_Time, value, name, where) for name in filled]
    windows = tuple(TimeSpan(time_s, time_s + WINDOW_S) for time_s in times)
    due = tuple(GoldTurn(asked, window, visible_s=window.start_s) for window in windows)
    if not windows and row.video_duration is not None:
        due = (GoldTurn(answer or asked, TimeSpan(0.0, row.video_duration)),)
    stream = Stream(
        f"{split}/{row.id}",
        row.video if isinstance(row.video, str) and row.video else row.id,
        (Question(asked),),
        due,
        duration_s=row.video_duration,
        subset=split,
    )
    return Item(stream, Gold(windows, answer))


def _response_of(path: Path) -> tuple[TimedReply, ...]:
    """The segments of a response that have text; one without a time is at 0."""
    value = json_file(path, _EXPECTED_RESPONSE)
    if isinstance(value, Mapping):
        value = value.get(first_filled(value, "chunks", "sentences"))
    if not isinstance(value, list):
        raise DataError(f"{path} holds {value!r:.60}; expected {_EXPECTED_RESPONSE}")
    replies = []
    for number, segment in enumerate(value, 1):
        where = f"{path}, segment {number}"
        text: str = field_or(str, segment, first_filled(segment, *TEXTS), where, "")
        if text.strip():
            time_s = field_or(Seconds, segment, first_filled(segment, *TIMES), where, 0.0)
            replies.append(TimedReply(time_s, text.strip()))
    return tuple(replies)


def _always(item: Item[Gold]) -> Prediction:
    """Claims in every second, until the last window ends, that it has happened."""
    text = f"It has just happened: {item.stream.questions[0].text}"
    end_s = max((window.end_s for window in item.gold.windows), default=1.0)
    replies = (TimedReply(float(t), text) for t in range(1, int(end_s) + 1))
    return Prediction(item.stream.item_id, tuple(replies))
