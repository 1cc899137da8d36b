"""A segment of a video as an example: all before it is history, answered with its gold replies
(paper section 4.3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oncue.clock import Clock
from oncue.data.examples import RolloutExample, shown_turns, split_example
from oncue.dialogue.write import Placement, reply_turn
from oncue.errors import DataError
from oncue.types import Task, TimeSpan

GridFrames = Callable[[int, int], list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class SegmentRules:
    """At most `max_history_turns` turns of history are shown, and at most `max_frames` frames in
    all: the oldest turns are left out, and the questions asked in them are in the first turn that
    is shown. `placement`: where gold replies are in the history."""

    max_history_turns: int
    max_frames: int
    placement: Placement

    def num_frames(self, segment: TimeSpan, where: str, clock: Clock, frames_per_turn: int) -> int:
        """How many frames a segment has. Raises DataError for more than `max_frames`."""
        num_before = clock.frames_until(segment.start_s) // frames_per_turn
        num_frames = clock.frames_until(segment.end_s) - num_before * frames_per_turn
        if num_frames > self.max_frames:
            raise DataError(
                f"{where}: its segment has {num_frames} frames, more than max_frames = "
                f"{self.max_frames}; shorten the segment, or raise --examples.max-frames"
            )
        return num_frames

    def example(
        self,
        task: Task,
        segment: TimeSpan,
        where: str,
        frames_of: GridFrames,
        clock: Clock,
        frames_per_turn: int,
        seed: int,
        index: int,
    ) -> RolloutExample:
        """The example of a segment. `frames_of(first, end)` gives grid frames number `first` to
        `end` - 1, fewer where the video ends before. Raises DataError for a segment that holds no
        turn, or more frames than `max_frames`."""
        num_before = clock.frames_until(segment.start_s) // frames_per_turn
        num_segment = self.num_frames(segment, where, clock, frames_per_turn)
        room = (self.max_frames - num_segment) // frames_per_turn
        first = max(0, num_before - min(self.max_history_turns, room))
        num_left_out = first * frames_per_turn
        frames = frames_of(num_left_out, clock.frames_until(segment.end_s))
        num_shown = num_left_out + len(frames)
        if num_shown <= num_before * frames_per_turn:
            raise DataError(
                f"{where}: nothing of the video is shown in the segment {segment.start_s:g} to "
                f"{segment.end_s:g} s; expected at least one frame at {clock.frame_interval_s:g} s "
                "each"
            )
        turns = shown_turns(frames, task.questions, clock, frames_per_turn, num_left_out)
        rng = np.random.default_rng((seed, index, 13))
        placed = [
            (gold, reply_turn(gold.span, clock, frames_per_turn, num_shown, self.placement, rng))
            for gold in task.gold
            if gold.span.start_s <= clock.time_of(num_shown)
        ]
        return split_example(task, turns, placed, num_before, index, num_left_out=first)
