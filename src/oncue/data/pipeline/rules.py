"""From questions with an answer or silence in each scene to a dialogue: pure rules, no model
(MMDuet2 section 3).

What the paper leaves open is decided here:

- how many questions: 2 for videos shorter than 60 s, 3 below 180 s, 4 from there on;
- which videos get one question: half of them, by a digest of id and seed, so that it does not
  depend on which other videos there are;
- when several questions are asked: at different turns, each turn before the end of the video being
  equally likely, the last one too;
- a scene has ended before a question when its end is not later than the question;
- a reply is written into the last turn of its span (`oncue.dialogue.write`): it is due only where
  that turn comes before the next question. So a scene that is running when the next question
  arrives loses its pending answer;
- a scene that is running when its own question arrives is answered from there to its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oncue.clock import Clock
from oncue.data.pipeline.values import QuestionList
from oncue.data.proactive_rows import DialogueKind
from oncue.dialogue.write import Placement, reply_turn, turn_reaching
from oncue.types import GoldTurn, Question, TimeSpan

_SHORT_S, _LONG_S = 60.0, 180.0
FEWEST_LISTS, MOST_LISTS = 2, 4
_NO_DRAWS = np.random.default_rng(0)  # a reply at the end of its span draws nothing


@dataclass(frozen=True, slots=True)
class TurnGrid:
    """The turns of a video of `duration_s` seconds (> 0)."""

    clock: Clock
    frames_per_turn: int
    duration_s: float

    @property
    def num_frames(self) -> int:
        return max(1, self.clock.first_at_or_after(self.duration_s))

    @property
    def num_turns(self) -> int:
        return -(-self.num_frames // self.frames_per_turn)

    def time_of(self, turn: int) -> float:
        """The clock of a turn (from 0)."""
        return self.clock.time_of(min((turn + 1) * self.frames_per_turn, self.num_frames))

    @property
    def turns_inside(self) -> tuple[int, ...]:
        """The turns whose clock is before the end of the video."""
        return tuple(t for t in range(self.num_turns) if self.time_of(t) < self.duration_s)

    def turn_of(self, time_s: float) -> int:
        """The turn that a question of `time_s` comes with."""
        turn = turn_reaching(time_s, self.clock, self.frames_per_turn, self.num_frames)
        return self.num_turns if turn is None else turn

    def turn_due(self, span: TimeSpan) -> int:
        """The turn that a reply due in `span` is written into; `num_turns` where there is none."""
        turn = reply_turn(
            span,
            self.clock,
            self.frames_per_turn,
            self.num_frames,
            Placement.END,
            _NO_DRAWS,
        )
        return self.num_turns if turn is None else turn

    def at_once(self, time_s: float) -> TimeSpan:
        """The span of a reply that is due at the very turn of `time_s`, the clock of a turn inside:
        half the way to the next turn, but not beyond the video."""
        half_s = self.clock.time_of(self.frames_per_turn) / 2
        next_turn = self.turn_of(time_s) + 1
        if next_turn < self.num_turns:
            half_s = (self.time_of(next_turn) - time_s) / 2
        return TimeSpan(time_s, min(time_s + half_s, self.duration_s))


def num_question_lists(duration_s: float) -> int:
    """How many questions are written about a video of this length."""
    return FEWEST_LISTS + (duration_s >= _SHORT_S) + (duration_s >= _LONG_S)


def dialogue_kind(video_id: str, seed: int) -> DialogueKind:
    """Which kind of dialogue a video gets: each of the two for half of all ids."""
    is_many = _digest("kind", video_id, seed)[0] & 1
    return DialogueKind.MANY_QUESTIONS if is_many else DialogueKind.ONE_QUESTION


def chosen_lists(
    lists: Sequence[QuestionList], kind: DialogueKind, num_turns: int, video_id: str, seed: int
) -> tuple[QuestionList, ...]:
    """The questions of the dialogue, in the order in which they are asked: one of them, or all that
    have a turn of their own, in a drawn order."""
    order = _rng("lists", video_id, seed).permutation(len(lists))
    num = 1 if kind is DialogueKind.ONE_QUESTION else max(1, min(len(lists), num_turns))
    return tuple(lists[i] for i in order[:num])


def question_times(
    grid: TurnGrid, kind: DialogueKind, num: int, video_id: str, seed: int
) -> tuple[float, ...]:
    """When `num` questions are asked, in order: at the start of the video, or each at the clock of
    a drawn turn of its own. `num` is at most the number of turns inside, or 1."""
    if kind is DialogueKind.ONE_QUESTION or not grid.turns_inside:
        return (0.0,)
    drawn = _rng("times", video_id, seed).choice(grid.turns_inside, num, replace=False)
    return tuple(grid.time_of(int(turn)) for turn in sorted(drawn))


def answers_before(
    scenes: Sequence[TimeSpan], asked: QuestionList, time_s: float
) -> tuple[str, ...]:
    """The answers of the scenes that have ended when the question is asked, in order of time."""
    return tuple(
        asked.answers[i]
        for i, span in enumerate(scenes)
        if i in asked.answers and span.end_s <= time_s
    )


def dialogue_of(
    scenes: Sequence[TimeSpan],
    lists: Sequence[QuestionList],
    times_s: Sequence[float],
    immediate: Sequence[str],
    grid: TurnGrid,
) -> tuple[tuple[Question, ...], tuple[GoldTurn, ...]]:
    """The questions, asked at `times_s` (each later than the one before), and the replies that are
    due, in order of time.

    `immediate[j]`: what is due at the very turn of question j, the merged answers of the scenes
    that have ended; "" for silence.
    """
    questions = tuple(Question(a.question, t) for a, t in zip(lists, times_s, strict=True))
    gold: list[GoldTurn] = []
    for number, (asked, time_s) in enumerate(zip(lists, times_s, strict=True)):
        is_last = number + 1 == len(lists)
        next_turn = grid.num_turns if is_last else grid.turn_of(times_s[number + 1])
        if immediate[number]:
            gold.append(GoldTurn(immediate[number], grid.at_once(time_s), asked.question))
        for i, scene in enumerate(scenes):
            if i not in asked.answers or scene.end_s <= time_s:
                continue
            span = TimeSpan(max(scene.start_s, time_s), scene.end_s)
            if grid.turn_due(span) < next_turn:
                gold.append(GoldTurn(asked.answers[i], span, asked.question))
    # Of two that begin at once, the immediate answer comes first: it is about what came before
    return questions, tuple(sorted(gold, key=lambda each: each.span.start_s))


def _digest(purpose: str, video_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{purpose}:{video_id}".encode("utf-8", "replace")).digest()


def _rng(purpose: str, video_id: str, seed: int) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(_digest(purpose, video_id, seed)[:8], "big"))
