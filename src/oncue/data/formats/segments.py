"""Segments of dialogues, as reinforcement learning practises on them: the segment is watched, and
all before it is history, answered with the replies that are due there (paper section 4.3.1).

Official examples have segments of 20 s at 2 s per frame, and at most 90 frames in all; the oldest
history is cut. Here segments begin and end with turns, one behind the other from the start of the
video; a segment in which nothing has been asked yet is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from oncue.data.formats.frame_names import duration_of, frame_names, num_frames_of
from oncue.data.formats.layout import Layout
from oncue.data.formats.written_rows import SILENCE, dialogue_of
from oncue.data.proactive_rows import ProactiveRow
from oncue.data.row_examples import SEGMENT_S
from oncue.dialogue.write import reply_turn
from oncue.errors import ConfigError, DataError
from oncue.types import DialogueTurn, GoldTurn, TimeSpan


@dataclass(frozen=True, slots=True)
class Segment:
    """An example: `row` is what is asked and due in the whole video, as far as it is known, and
    `span` what of it is practised on."""

    example_id: str
    row: ProactiveRow
    span: TimeSpan


@dataclass(frozen=True, slots=True)
class SegmentTurns:
    """An example as turns. `prompt`: the system message, the history and the first turn of the
    segment, with the time of each; `later`: the other user turns. `images`: the names of all
    frames, those of the prompt first. `times_s`: of the turns that the model answers. `due`: the
    replies to give in them. `said`: the replies of the history."""

    prompt: tuple[tuple[DialogueTurn, float], ...]
    later: tuple[DialogueTurn, ...]
    images: tuple[str, ...]
    times_s: tuple[float, ...]
    due: tuple[GoldTurn, ...]
    said: tuple[str, ...]


def check_segment_s(layout: Layout) -> None:
    """Raises ConfigError for segments that are unusually short or long, hold no turn, or have more
    frames than an example may show."""
    low, high = SEGMENT_S
    if not low <= layout.segment_s <= high:
        raise ConfigError(
            f"--segment-s must be from {low:g} to {high:g} seconds, got {layout.segment_s:g}"
        )
    num_frames = _turns_each(layout) * layout.frames_per_turn
    if not 1 <= num_frames <= layout.max_frames:
        raise ConfigError(
            f"a segment of {layout.segment_s:g} s has {num_frames} frames at "
            f"{layout.clock.frame_interval_s:g} s in whole turns of {layout.frames_per_turn}; "
            f"expected 1 to --max-frames {layout.max_frames}"
        )


def segments_of(row: ProactiveRow, layout: Layout) -> Iterator[Segment]:
    """The segments of a dialogue, in order."""
    row = replace(row, task=replace(row.task, duration_s=duration_of(row, layout)))
    num_frames, each = num_frames_of(row, layout), _turns_each(layout) * layout.frames_per_turn
    first_asked_s = min(question.time_s for question in row.task.questions)
    for first in range(0, num_frames, each):
        end = min(first + each, num_frames)
        span = TimeSpan(layout.clock.time_of(first), layout.clock.time_of(end))
        if first_asked_s <= span.end_s:
            name = f"{row.row_id}-{span.start_s:g}-{span.end_s:g}s"
            yield Segment(name, row, span)


def turns_of(segment: Segment, layout: Layout) -> SegmentTurns:
    """The turns of an example. Raises DataError for a segment without a turn."""
    row, clock, per_turn = segment.row, layout.clock, layout.frames_per_turn
    num_frames = clock.frames_until(segment.span.end_s)
    if row.task.duration_s is not None:
        num_frames = min(num_frames, num_frames_of(row, layout))
    num_before = clock.frames_until(segment.span.start_s) // per_turn
    if num_frames <= num_before * per_turn:
        raise DataError(
            f"example {segment.example_id!r}: its segment {segment.span.start_s:g} to "
            f"{segment.span.end_s:g} s shows no frame at {clock.frame_interval_s:g} s each"
        )
    pairs = dialogue_of(row, num_frames, layout).turns
    users, replies = pairs[1::2], pairs[2::2]
    room = (layout.max_frames - (num_frames - num_before * per_turn)) // per_turn
    if room < 0:
        raise DataError(
            f"example {segment.example_id!r}: its segment has more frames than --max-frames "
            f"{layout.max_frames}"
        )
    first = max(0, num_before - room)
    asked = "\n".join(turn.text for turn in users[: first + 1] if turn.text)
    users = (*users[:first], replace(users[first], text=asked), *users[first + 1 :])
    times_s = [clock.time_of(min((i + 1) * per_turn, num_frames)) for i in range(len(users))]
    prompt: list[tuple[DialogueTurn, float]] = [(pairs[0], 0.0)]
    for i in range(first, num_before):
        prompt += [(users[i], times_s[i]), (replies[i], times_s[i])]
    prompt.append((users[num_before], times_s[num_before]))
    return SegmentTurns(
        tuple(prompt),
        tuple(users[num_before + 1 :]),
        tuple(frame_names(row, num_frames, layout)[first * per_turn :]),
        tuple(times_s[num_before:]),
        _due(row, num_before, num_frames, layout),
        tuple(r.text for r in replies[first:num_before] if r.text != SILENCE),
    )


def _due(
    row: ProactiveRow, num_before: int, num_frames: int, layout: Layout
) -> tuple[GoldTurn, ...]:
    """The replies that are not in the history and begin before the segment ends."""
    rng, due = layout.rng(row.row_id), []
    for gold in row.task.gold:
        turn = reply_turn(
            gold.span, layout.clock, layout.frames_per_turn, num_frames, layout.placement, rng
        )
        if turn is not None and turn >= num_before:
            due.append(gold)
    return tuple(due)


def _turns_each(layout: Layout) -> int:
    return layout.clock.frames_until(layout.segment_s) // layout.frames_per_turn
