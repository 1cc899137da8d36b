"""What can be wrong with a proactive row, as far as the row itself shows it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations

from oncue.data.gold import TOLERANCE_S
from oncue.data.proactive_rows import ProactiveRow
from oncue.data.quality.faults import FaultKind, Finding
from oncue.data.quality.turn_grid import TurnGrid, questions_of
from oncue.render.actions import TextFormat
from oncue.render.markup import FRAME_TEXT, STRUCTURAL_MARKS
from oncue.types import TimeSpan

MARKS = (*STRUCTURAL_MARKS, FRAME_TEXT, "<video>", "<audio>")
SILENCE = TextFormat().silence_text


def row_findings(row: ProactiveRow, grid: TurnGrid) -> Iterator[Finding]:
    """Every fault of `row`, with the turns of `grid`."""
    return chain(
        _outside(row), _questions(row), _empty(row), _overlaps(row, grid),
        _replies(row, grid), _texts(row),
    )  # fmt: skip


def mark_in(text: str) -> str:
    """The first chat or media mark in `text`, "" for none."""
    return next((mark for mark in MARKS if mark in text), "")


def mark_finding(mark: str, turn: str) -> Finding:
    said = f"its text holds {mark}, which servers and trainers read as a mark"
    return Finding(FaultKind.CHAT_MARK, said, "write it in other words, or drop the row", turn)


def seconds(span: TimeSpan) -> str:
    return f"{span.start_s:g} to {span.end_s:g} s"


def _outside(row: ProactiveRow) -> Iterator[Finding]:
    length_s = row.task.duration_s
    named = [(f"gold {n}", gold.span) for n, gold in enumerate(row.task.gold, 1)]
    named += [(f"scene {n}", scene.span) for n, scene in enumerate(row.scenes, 1)]
    for turn, span in named:
        late = length_s is not None and span.end_s > length_s + TOLERANCE_S
        if late or span.start_s < 0:
            said = f"its span {seconds(span)} lies outside the video" + (
                f" of {length_s:g} s" if length_s is not None else ", which begins at 0 s"
            )
            yield Finding(
                FaultKind.OUTSIDE_VIDEO, said, "cut the span to the video, or drop it", turn
            )


def _questions(row: ProactiveRow) -> Iterator[Finding]:
    length_s = row.task.duration_s
    for number, question in enumerate(row.task.questions, 1):
        if length_s is not None and question.time_s > length_s + TOLERANCE_S:
            said = (
                f"it is asked at {question.time_s:g} s, after the end of the video ({length_s:g} s)"
            )
            remedy = "ask it earlier, or drop it"
            yield Finding(FaultKind.LATE_QUESTION, said, remedy, f"question {number}")


def _empty(row: ProactiveRow) -> Iterator[Finding]:
    for number, scene in enumerate(row.scenes, 1):
        if not scene.span.duration_s:
            said = f"its span has no width ({scene.span.start_s:g} s)"
            yield Finding(FaultKind.EMPTY_SPAN, said, "widen or drop it", f"scene {number}")


def _overlaps(row: ProactiveRow, grid: TurnGrid) -> Iterator[Finding]:
    """Spans of one question that share time. An immediate answer is said at once, so that whatever
    comes after it may begin in its span."""
    task = row.task
    ordered = sorted(enumerate(task.gold, 1), key=lambda each: each[1].span.start_s)
    for (first, one), (second, other) in combinations(ordered, 2):
        shared_s = min(one.span.end_s, other.span.end_s) - other.span.start_s
        if one.question != other.question or shared_s <= TOLERANCE_S:
            continue
        if grid.is_immediate(task, one) or grid.is_immediate(task, other):
            continue
        said = (
            f"its span {seconds(other.span)} overlaps that of gold {first} "
            f"({seconds(one.span)}), with the same question"
        )
        remedy = "let one end where the other begins, or merge them"
        yield Finding(FaultKind.OVERLAPPING_SPANS, said, remedy, f"gold {second}")


def _replies(row: ProactiveRow, grid: TurnGrid) -> Iterator[Finding]:
    """Replies in a turn before that of their question, or before what they say can be seen."""
    task = row.task
    for number, gold in enumerate(task.gold, 1):
        turn = f"gold {number}"
        asked = questions_of(task, gold)
        if not asked:
            said = f"it answers {gold.question!r:.60}, which the row does not ask"
            remedy = "write the text of one of the row's questions"
            yield Finding(FaultKind.UNASKED_REPLY, said, remedy, turn)
        said_in = grid.reply_turn(task, gold)
        if said_in is None:
            continue
        said_s = grid.time_of(said_in, task)
        turns = [t for q in asked if (t := grid.question_turn(task, q)) is not None]
        if turns and min(turns) > said_in:
            said = (
                f"it is due in the turn at {said_s:g} s, but its question comes in that at "
                f"{grid.time_of(min(turns), task):g} s"
            )
            remedy = "ask earlier, or drop the reply"
            yield Finding(FaultKind.UNASKED_REPLY, said, remedy, turn)
        visible_s = gold.visible_s
        if visible_s is not None and min(gold.span.end_s, said_s) < visible_s - TOLERANCE_S:
            said = (
                f"it is due in the turn at {said_s:g} s (span {seconds(gold.span)}), before what "
                f"it says is visible ({visible_s:g} s)"
            )
            remedy = "let the span reach a turn after that, or correct visible_s"
            yield Finding(FaultKind.EARLY_REPLY, said, remedy, turn)


def _texts(row: ProactiveRow) -> Iterator[Finding]:
    texts = [(f"question {n}", q.text) for n, q in enumerate(row.task.questions, 1)]
    texts += [(f"gold {n}", gold.content) for n, gold in enumerate(row.task.gold, 1)]
    texts += [(f"scene {n}", f"{s.caption}\n{s.subtitle}") for n, s in enumerate(row.scenes, 1)]
    for turn, text in texts:
        if mark := mark_in(text):
            yield mark_finding(mark, turn)
    for number, gold in enumerate(row.task.gold, 1):
        if gold.content.strip() == SILENCE:
            said = f"its text is {SILENCE!r}, which is how silence is written"
            yield Finding(FaultKind.SILENCE_TEXT, said, "drop the reply", f"gold {number}")
