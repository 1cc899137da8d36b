"""One HTML file that shows proactive rows on their film strip: scenes, questions, and the replies
that are due. It loads nothing and needs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from oncue.data.proactive_rows import ProactiveRow
from oncue.data.quality.turn_grid import TurnGrid
from oncue.pages.page import render
from oncue.types import TimeSpan
from oncue.view.film import Film
from oncue.watch.report import clock_text
from oncue.watch.watch_page import data_url

_NUM_HUES = 7  # of questions; hue 0 is grey
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_NUM_TICKS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a lane: `left` and `width` in percent, its `name`, and the text that shows where
    the pointer rests."""

    left: float
    width: float
    name: str
    title: str
    hue: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A still from `left` on, in percent."""

    left: float
    width: float
    clock: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the texts of a row. `kind`: question, reply or scene."""

    time_s: float
    kind: str
    clock: str
    text: str
    hue: int = 0
    aside: str = ""


@dataclass(frozen=True, slots=True)
class DialogueCard:
    """A row as the page shows it."""

    row_id: str
    facts: tuple[str, ...]
    film: tuple[Frame, ...]
    missing: str
    scenes: tuple[Bar, ...]
    questions: tuple[Bar, ...]
    replies: tuple[tuple[Bar, ...], ...]
    dots: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    entries: tuple[Entry, ...]
    provenance: tuple[str, ...]


def dialogues_page(
    title: str,
    rows: Iterable[ProactiveRow],
    grid: TurnGrid,
    film_of: Callable[[ProactiveRow], Film],
    step: Callable[[], None] = lambda: None,
) -> str:
    """The page of `rows` as text; `step()` is called after each. All texts are plain text. A dot
    is the turn of `grid` into which a training row writes a reply."""
    cards = []
    for row in rows:
        cards.append(card_of(row, grid, film_of(row)))
        step()
    turns = f"turns of {grid.frames_per_turn} x {grid.clock.frame_interval_s:g} s"
    return render("dialogues.html", title=title, cards=cards, turns=turns)


def card_of(row: ProactiveRow, grid: TurnGrid, film: Film) -> DialogueCard:
    """What the page shows of `row`."""
    axis = _Axis(_end_s(row))
    hues = {q.text: 1 + n % _NUM_HUES for n, q in reversed(list(enumerate(row.task.questions)))}
    texts = list(dict.fromkeys(q.text for q in row.task.questions))
    return DialogueCard(
        row.row_id,
        _facts(row),
        _frames(film, axis),
        film.missing,
        tuple(
            axis.bar(s.span.start_s, s.span.end_s, str(n), f"{_span(s.span)}  {s.caption}")
            for n, s in enumerate(row.scenes, 1)
        ),
        _questions(row, axis, hues),
        tuple(_replies(row, text, axis, hues) for text in _asked(row, texts)),
        _dots(row, grid, axis, hues),
        axis.ticks(),
        _entries(row, hues),
        _provenance(row),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    end_s: float

    def at(self, time_s: float) -> float:
        """Percent from the left."""
        return round(100 * min(max(time_s / self.end_s, 0.0), 1.0), 2)

    def bar(self, start_s: float, end_s: float, name: str, title: str, hue: int = 0) -> Bar:
        left = self.at(start_s)
        return Bar(left, round(self.at(end_s) - left, 2), name, title, hue)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        step_s = next(
            (s for s in _STEPS_S if self.end_s / s <= _NUM_TICKS), math.ceil(self.end_s / 8)
        )
        return tuple(
            (self.at(k * step_s), _clock(k * step_s))
            for k in range(math.floor(self.end_s / step_s + 1e-6) + 1)
        )


def _end_s(row: ProactiveRow) -> float:
    task = row.task
    times_s = [*(g.span.end_s for g in task.gold), *(s.span.end_s for s in row.scenes)]
    times_s += [*(q.time_s for q in task.questions), task.duration_s or 0.0]
    return max(*times_s, 1.0)


def _facts(row: ProactiveRow) -> tuple[str, ...]:
    length = "" if row.task.duration_s is None else f"{row.task.duration_s:g} s"
    part = "" if row.part is None else f"{_span(row.part)} of the file"
    facts = (row.video, part, length, row.kind.value, row.dialogue.value, row.source)
    return tuple(fact for fact in facts if fact)


def _frames(film: Film, axis: _Axis) -> tuple[Frame, ...]:
    """Each still reaches to the next; the first begins at 0."""
    starts_s = [0.0, *(still.time_s for still in film.stills[1:]), axis.end_s]
    frames = []
    for still, start_s, end_s in zip(film.stills, starts_s, starts_s[1:], strict=False):
        left = axis.at(start_s)
        width = round(axis.at(end_s) - left, 2)
        frames.append(Frame(left, width, _clock(still.time_s), data_url(still)))
    return tuple(frames)


def _questions(row: ProactiveRow, axis: _Axis, hues: dict[str, int]) -> tuple[Bar, ...]:
    """From each question to the next one."""
    asked = sorted(row.task.questions, key=lambda question: question.time_s)
    ends_s = [*(question.time_s for question in asked[1:]), axis.end_s]
    return tuple(
        axis.bar(q.time_s, end_s, q.text, f"{_clock(q.time_s)}  {q.text}", hues[q.text])
        for q, end_s in zip(asked, ends_s, strict=True)
    )


def _asked(row: ProactiveRow, texts: Sequence[str]) -> list[str]:
    """The questions that have replies; "" for replies that name none of the row's."""
    named = {gold.question if gold.question in texts else "" for gold in row.task.gold}
    return [text for text in (*texts, "") if text in named]


def _replies(
    row: ProactiveRow, question: str, axis: _Axis, hues: dict[str, int]
) -> tuple[Bar, ...]:
    return tuple(
        axis.bar(
            gold.span.start_s,
            gold.span.end_s,
            str(number),
            f"{_span(gold.span)}  {gold.content}",
            _hue(row, gold.question, hues),
        )
        for number, gold in enumerate(row.task.gold, 1)
        if (gold.question if gold.question in hues else "") == question
    )


def _dots(row: ProactiveRow, grid: TurnGrid, axis: _Axis, hues: dict[str, int]) -> tuple[Bar, ...]:
    dots = []
    for number, gold in enumerate(row.task.gold, 1):
        turn = grid.reply_turn(row.task, gold)
        if turn is not None:
            time_s = grid.time_of(turn, row.task)
            said = f"{_clock(time_s)}  reply {number}: {gold.content}"
            hue = _hue(row, gold.question, hues)
            dots.append(axis.bar(time_s, time_s, str(number), said, hue))
    return tuple(dots)


def _entries(row: ProactiveRow, hues: dict[str, int]) -> tuple[Entry, ...]:
    """Everything that is said, in the order of time."""
    entries = [
        Entry(q.time_s, "question", _clock(q.time_s), q.text, hues[q.text])
        for q in row.task.questions
    ]
    for number, gold in enumerate(row.task.gold, 1):
        seen = "" if gold.visible_s is None else f"visible from {_clock(gold.visible_s)}"
        hue = _hue(row, gold.question, hues)
        span = _span(gold.span)
        entries.append(Entry(gold.span.start_s, f"reply {number}", span, gold.content, hue, seen))
    for number, scene in enumerate(row.scenes, 1):
        said = f"subtitle: {scene.subtitle}" if scene.subtitle else ""
        span = _span(scene.span)
        entries.append(Entry(scene.span.start_s, f"scene {number}", span, scene.caption, 0, said))
    return tuple(sorted(entries, key=lambda entry: (entry.time_s, not entry.hue)))


def _hue(row: ProactiveRow, question: str, hues: dict[str, int]) -> int:
    """That of its question; of a reply that names none the only question's, else grey."""
    alone = hues[row.task.questions[0].text] if len(row.task.questions) == 1 else 0
    return hues.get(question, alone)


def _provenance(row: ProactiveRow) -> tuple[str, ...]:
    steps = (
        f"{s.step}: {s.model}, {s.prompt_version}, {s.num_requests} requests, {s.tokens_in:,} "
        f"tokens in, {s.tokens_out:,} out, cost {s.cost:g}"
        for s in row.provenance.steps
    )
    return tuple(line for line in (row.provenance.where, *steps) if line)


def _clock(time_s: float) -> str:
    return clock_text(time_s).removesuffix(".0")


def _span(span: TimeSpan) -> str:
    return f"{_clock(span.start_s)} to {_clock(span.end_s)}"
