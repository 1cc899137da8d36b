"""An item of a run drawn along its time: what was due, and what became of each reply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncue.eval.streams.benchmark import Mark
from oncue.eval.streams.scoring import ShownItem

WIDTH = 1000.0  # of all drawings, in their own units
_MOST_DRAWN = 1000  # replies of a lane; more would touch
_MOST_LISTED = 40
_LONGEST_TEXT = 600  # characters
_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_NUM_TICKS = 4


@dataclass(frozen=True, slots=True)
class Lane:
    """The replies of one verdict: `path` draws an upright stroke for each."""

    verdict: str
    num: int
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of text below a timeline: when, what, and of a reply what became of it."""

    clock: str
    text: str
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """`spans`: (left, width) of what was due; `ticks`: (left in percent, clock). `more`: how many
    replies are not in the list."""

    item_id: str
    video: str
    subset: str
    worth: str
    asked: tuple[Entry, ...]
    spans: tuple[tuple[float, float], ...]
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    due: tuple[Entry, ...]
    replies: tuple[Entry, ...]
    more: int


def timeline(shown: ShownItem) -> Timeline:
    """The drawing of an item."""
    stream, marks = shown.stream, shown.score.marks
    start_s = stream.start_s
    ends_s = [gold.span.end_s for gold in stream.due]
    ends_s += [mark.reply.time_s for mark in marks]
    known_s = stream.end_s if stream.end_s is not None else stream.duration_s
    end_s = max([start_s + 1.0, *ends_s, *([] if known_s is None else [known_s])])

    def at(time_s: float) -> float:
        share = (time_s - start_s) / (end_s - start_s)
        return round(WIDTH * min(max(share, 0.0), 1.0), 1)

    ordered = sorted(marks, key=lambda mark: mark.reply.time_s)
    by_verdict: dict[str, list[float]] = {}
    for mark in ordered:
        by_verdict.setdefault(mark.verdict, []).append(at(mark.reply.time_s))
    spans = [(at(g.span.start_s), at(g.span.end_s)) for g in stream.due]
    worth = shown.score.worth
    return Timeline(
        stream.item_id,
        stream.video,
        stream.subset,
        "-" if worth is None else f"{worth:.2f}",
        tuple(Entry(clock_text(q.time_s), _cut(q.text)) for q in stream.questions[:_MOST_LISTED]),
        tuple((left, round(max(right - left, 3.0), 1)) for left, right in spans),
        tuple(Lane(name, len(lefts), _path(lefts)) for name, lefts in by_verdict.items()),
        _ticks(start_s, end_s),
        tuple(
            Entry(
                f"{clock_text(gold.span.start_s)} to {clock_text(gold.span.end_s)}",
                _cut(gold.content),
            )
            for gold in stream.due[:_MOST_LISTED]
        ),
        tuple(map(_entry, ordered[:_MOST_LISTED])),
        max(0, len(ordered) - _MOST_LISTED),
    )


def verdict_hues(lines: Sequence[Timeline], hues: Sequence[int]) -> Mapping[str, int]:
    """A hue for each verdict, the same in all timelines; the most frequent first."""
    counts: dict[str, int] = {}
    for line in lines:
        for lane in line.lanes:
            counts[lane.verdict] = counts.get(lane.verdict, 0) + lane.num
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: hues[number % len(hues)] for number, name in enumerate(names)}


def clock_text(time_s: float) -> str:
    """Such as 2:04 or 0:35.7."""
    tenths = round(time_s * 10)
    minutes, left = divmod(tenths, 600)
    seconds, tenth = divmod(left, 10)
    return f"{minutes}:{seconds:02d}" + (f".{tenth}" if tenth else "")


def _entry(mark: Mark) -> Entry:
    return Entry(clock_text(mark.reply.time_s), _cut(mark.reply.text), mark.verdict)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " ..."


def _path(lefts: Sequence[float]) -> str:
    """Upright strokes from 2 to 18, thinned where there are very many."""
    step = -(-len(lefts) // _MOST_DRAWN) or 1
    return "".join(f"M{left:g} 2V18" for left in dict.fromkeys(lefts[::step]))


def _ticks(start_s: float, end_s: float) -> tuple[tuple[float, str], ...]:
    """(percent from the left, clock) at round times."""
    length_s = end_s - start_s
    step_s = next((s for s in _STEPS_S if length_s / s <= _NUM_TICKS), math.ceil(length_s / 4))
    first = math.ceil(start_s / step_s - 1e-6)
    times_s = [step_s * k for k in range(first, math.floor(end_s / step_s + 1e-6) + 1)]
    return tuple((round(100 * (t - start_s) / length_s, 2), clock_text(t)) for t in times_s)
