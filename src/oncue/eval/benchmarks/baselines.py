"""What to compare a model with: speaking when the picture changes, the earliest replies that could
be right, and all that someone can truthfully say who compares each picture with the one before.

Silence and talk at every turn are in `policy/scripted.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.eval.timing import TimingCount, count_timing, pooled
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Reply, Silence, Task, TimeSpan
from oncue.video.change import grey_difference, small_grey
from oncue.world.clip import Clip
from oncue.world.questions import first_answer, wish_of


class ChangeMeter:
    """How much the picture changes: mean absolute grey difference, 0 to 255, between small versions
    of frames."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None

    def change(self, frames: FrameBatch) -> float:
        """The largest change from frame to frame since the last call; 0 without frames, and for the
        first ever."""
        largest = 0.0
        for pixels in frames.pixels:
            grey = small_grey(pixels)
            if self._previous is not None:
                largest = max(largest, grey_difference(grey, self._previous))
            self._previous = grey
        return largest


@dataclass(frozen=True, slots=True)
class Trigger:
    """Speaks when the change is above `threshold` (grey levels) and it has been silent for
    `cooldown_s`."""

    threshold: float
    cooldown_s: float = 0.0

    def speaks(self, change: float, clock_s: float, last_s: float) -> bool:
        """`last_s` is the clock of its last reply, -inf before the first."""
        return change > self.threshold and clock_s - last_s >= self.cooldown_s

    def times_of(self, changes: Iterable[tuple[float, float]]) -> list[float]:
        """When it speaks, in seconds, over a sequence of (clock_s, change)."""
        times_s: list[float] = []
        for clock_s, change in changes:
            if self.speaks(change, clock_s, times_s[-1] if times_s else -math.inf):
                times_s.append(clock_s)
        return times_s


class FrameDifferencePolicy:
    """A PolicySession without weights: says `text` when the picture has changed."""

    def __init__(self, trigger: Trigger, text: str = "Something changes.") -> None:
        self._trigger = trigger
        self._text = text
        self._meter = ChangeMeter()
        self._last_s = -math.inf

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        if not self._trigger.speaks(
            self._meter.change(observed.frames), observed.clock_s, self._last_s
        ):
            return PolicyTurn(Silence())
        self._last_s = observed.clock_s
        return PolicyTurn(Reply(self._text))

    def close(self) -> None:
        """Nothing to free."""


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """What tuning needs of a clip: (clock_s, change) of each turn, and the spans in which a reply
    is due."""

    changes: tuple[tuple[float, float], ...]
    spans: tuple[TimeSpan, ...]


def label_clip(
    grid_frames: Iterable[np.ndarray], clock: Clock, spans: Iterable[TimeSpan]
) -> LabelledClip:
    """A clip from its (H, W, 3) uint8 frames on the clock's grid, one per turn."""
    meter = ChangeMeter()
    changes = tuple(
        (clock.time_of(k), meter.change(FrameBatch(pixels[None], np.array([clock.time_of(k)]))))
        for k, pixels in enumerate(grid_frames, 1)
    )
    return LabelledClip(changes, tuple(spans))


@dataclass(frozen=True, slots=True)
class TunedTrigger:
    """The trigger with the best pooled F1 on the clips it was tuned on."""

    trigger: Trigger
    timing: TimingCount


def tune(
    clips: Sequence[LabelledClip],
    thresholds: Sequence[float],
    cooldowns_s: Sequence[float] = (0.0, 1.0, 2.0, 4.0),
) -> TunedTrigger:
    """The best trigger of the grid; of equals, the least ready to speak. Raises ConfigError for an
    empty grid."""
    if not (clips and thresholds and cooldowns_s):
        raise ConfigError("tuning needs at least one clip, one threshold and one cool-down")
    grid = [
        Trigger(threshold, cooldown_s)
        for threshold, cooldown_s in itertools.product(thresholds, cooldowns_s)
    ]
    tuned = [
        TunedTrigger(
            trigger, pooled(count_timing(trigger.times_of(c.changes), c.spans) for c in clips)
        )
        for trigger in grid
    ]
    return max(tuned, key=lambda t: (t.timing.f1 or 0.0, t.trigger.threshold, t.trigger.cooldown_s))


def oracle_replies(
    task: Task, frame_interval_s: float, frames_per_turn: int = 1, num_frames: int | None = None
) -> dict[float, str]:
    """The earliest replies that could be right, by the clock of their turn: what a ScriptedPolicy
    takes.

    Each gold reply comes at the first turn whose clock reaches the moment the event is visible (the
    start of the span where that is not known). It is left out where that turn lies after the span
    or does not exist; replies that fall on one turn are joined by a space. `num_frames` of the
    video, by default those that its duration holds.
    """
    clock = Clock(frame_interval_s)
    if num_frames is None and task.duration_s is not None:
        num_frames = max(1, clock.first_at_or_after(task.duration_s))
    replies: dict[float, list[str]] = {}
    for gold in task.gold:
        due_s = (
            gold.span.start_s if gold.visible_s is None else max(gold.span.start_s, gold.visible_s)
        )
        turn = max(1, math.ceil(clock.first_at_or_after(due_s) / frames_per_turn))
        shown = turn * frames_per_turn
        if num_frames is not None and shown > num_frames:
            if shown - num_frames >= frames_per_turn:
                continue
            shown = num_frames
        clock_s = clock.time_of(shown)
        if clock_s in gold.span:
            replies.setdefault(clock_s, []).append(gold.content)
    return {clock_s: " ".join(dict.fromkeys(texts)) for clock_s, texts in sorted(replies.items())}


def truthful_replies(
    clip: Clip, shown_s: Sequence[float], frame_interval_s: float
) -> dict[float, str]:
    """What a truthful watcher of `clip` says, by the clock of the turn, who is shown the picture of
    video time `shown_s[k]` in turn k.

    It compares each picture with the one before and tells the first difference that the newest
    question asks for. What differs in the turn that brings the question was there before anybody
    asked, and is not reported. Only the pictures count, in whatever order they come, not what is
    due.
    """
    clock = Clock(frame_interval_s)
    asked = [
        (max(1, clock.first_at_or_after(q.time_s)), wish_of(q.text)) for q in clip.task.questions
    ]
    replies = {}
    for turn, (from_s, to_s) in enumerate(itertools.pairwise(shown_s), 2):
        heard = [(asked_in, wish) for asked_in, wish in asked if asked_in <= turn]
        if not heard or heard[-1][0] == turn:
            continue
        text = first_answer(heard[-1][1], clip.differences(from_s, to_s))
        if text is not None:
            replies[clock.time_of(turn)] = text
    return replies
