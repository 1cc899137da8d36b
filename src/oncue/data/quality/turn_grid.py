"""A row on the turns of a model: in which turn each question comes and each gold reply is due."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncue.clock import Clock
from oncue.dialogue.write import Placement, reply_turn, turn_reaching
from oncue.types import GoldTurn, Question, Task

_UNUSED = np.random.default_rng(0)  # a reply at the end of its span is not drawn


@dataclass(frozen=True, slots=True)
class TurnGrid:
    """Turns of `frames_per_turn` frames (1 or more) of `clock`."""

    clock: Clock
    frames_per_turn: int

    def num_frames(self, task: Task) -> int:
        """Frames of its video; where the length is not known, of a video that ends with its last
        question or span."""
        length_s = task.duration_s
        if length_s is None:
            times_s = [*(q.time_s for q in task.questions), *(g.span.end_s for g in task.gold)]
            length_s = max(times_s, default=0.0)
        return max(1, self.clock.first_at_or_after(length_s))

    def num_turns(self, task: Task) -> int:
        return -(-self.num_frames(task) // self.frames_per_turn)

    def question_turn(self, task: Task, question: Question) -> int | None:
        """The turn in which `question` is asked, None after the end."""
        return turn_reaching(
            question.time_s, self.clock, self.frames_per_turn, self.num_frames(task)
        )

    def reply_turn(self, task: Task, gold: GoldTurn) -> int | None:
        """The turn that a training row writes `gold` into, the last of its span; None after the
        end. Source: MMDuet2, section 4.2."""
        num_frames = self.num_frames(task)
        return reply_turn(
            gold.span, self.clock, self.frames_per_turn, num_frames, Placement.END, _UNUSED
        )

    def time_of(self, turn: int, task: Task) -> float:
        """Seconds on the clock in turn number `turn`."""
        shown = min((turn + 1) * self.frames_per_turn, self.num_frames(task))
        return self.clock.time_of(shown)

    def reply_turns(self, task: Task) -> frozenset[int]:
        """The turns that are not silent."""
        turns = (self.reply_turn(task, gold) for gold in task.gold)
        return frozenset(turn for turn in turns if turn is not None)

    def is_immediate(self, task: Task, gold: GoldTurn) -> bool:
        """Whether `gold` is due in the very turn in which its question is asked (section 3)."""
        turn = self.reply_turn(task, gold)
        return turn is not None and turn in {
            self.question_turn(task, question) for question in questions_of(task, gold)
        }


def questions_of(task: Task, gold: GoldTurn) -> tuple[Question, ...]:
    """The questions that `gold` may answer: those with the text it names, all where it names none.
    None at all: the row does not ask what it names."""
    if not gold.question:
        return task.questions
    return tuple(question for question in task.questions if question.text == gold.question)
