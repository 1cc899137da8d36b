"""From a task with gold replies to the dialogue a model is trained on (paper sections 3 and
4.2)."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np

from oncue.clock import Clock
from oncue.types import Dialogue, DialogueTurn, Task, TimeSpan


class Placement(enum.StrEnum):
    """Which turn of its span a gold reply is written into.

    end: the last turn whose clock is inside, as in the paper. spread: an evenly drawn turn inside,
    which leaves the model unsure when to speak (what reinforcement learning needs to start from).
    start: the first turn inside. A span without a turn takes the first turn after its start.
    """

    END = "end"
    SPREAD = "spread"
    START = "start"


def turn_reaching(time_s: float, clock: Clock, frames_per_turn: int, num_frames: int) -> int | None:
    """The index of the first turn whose clock is at or after `time_s`; None when `num_frames`
    frames end before it.

    The last turn may hold fewer than `frames_per_turn` frames.
    """
    needed = max(1, clock.first_at_or_after(time_s))
    return None if needed > num_frames else -(-needed // frames_per_turn) - 1


def reply_turn(
    span: TimeSpan,
    clock: Clock,
    frames_per_turn: int,
    num_frames: int,
    placement: Placement,
    rng: np.random.Generator,
    turn_odds: Sequence[float] = (),
) -> int | None:
    """The index of the turn that answers `span`, or None when the video ends before it.

    `turn_odds`, where given, take the place of `placement`: the odds of the first turn inside, of
    the one after it, and so on; what falls behind the span is answered in its last turn.
    """
    first = turn_reaching(span.start_s, clock, frames_per_turn, num_frames)
    if first is None:
        return None
    shown = clock.frames_until(span.end_s)
    num_turns = -(-num_frames // frames_per_turn)
    last = num_turns - 1 if shown >= num_frames else shown // frames_per_turn - 1
    if last <= first:
        return first
    if turn_odds:
        shares = np.array(turn_odds) / sum(turn_odds)
        return min(last, first + int(rng.choice(len(shares), p=shares)))
    if placement is Placement.START:
        return first
    return last if placement is Placement.END else int(rng.integers(first, last + 1))


def write_dialogue(
    task: Task,
    num_frames: int,
    clock: Clock,
    *,
    system: str,
    silence: str,
    frames_per_turn: int = 1,
    placement: Placement = Placement.END,
    turn_odds: Sequence[float] = (),
    rng: np.random.Generator | None = None,
) -> Dialogue:
    """The dialogue of `task` over `num_frames` grid frames: a reply in the turn its span asks for,
    `silence` elsewhere.

    A question is in the first turn whose clock reaches it. Two replies due in one turn are
    joined by a space.
    """
    rng = rng or np.random.default_rng(0)
    num_turns = -(-num_frames // frames_per_turn)
    questions: list[list[str]] = [[] for _ in range(num_turns)]
    for question in task.questions:
        turn = turn_reaching(question.time_s, clock, frames_per_turn, num_frames)
        if turn is not None:
            questions[turn].append(question.text)
    replies: list[list[str]] = [[] for _ in range(num_turns)]
    for gold in task.gold:
        due = reply_turn(gold.span, clock, frames_per_turn, num_frames, placement, rng, turn_odds)
        if due is not None:
            replies[due].append(gold.content)
    turns = [DialogueTurn("system", system)]
    for i in range(num_turns):
        count = min(frames_per_turn, num_frames - i * frames_per_turn)
        turns.append(DialogueTurn("user", "\n".join(questions[i]), count))
        turns.append(DialogueTurn("assistant", " ".join(replies[i]) or silence))
    return Dialogue(task.task_id, tuple(turns))
