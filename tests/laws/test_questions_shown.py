"""A question is shown in the same turn wherever turns are made: live, in examples of RL, and in
written dialogues."""

from __future__ import annotations

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.clock import Clock
from oncue.data.examples import shown_turns
from oncue.dialogue.write import write_dialogue
from oncue.env.streaming import StreamingEnv
from oncue.types import EnvTurn, FrameBatch, Question, Silence, Task

Times = st.lists(st.one_of(st.floats(0, 40), st.integers(0, 40).map(float)), max_size=5)


class GridFrames:
    """A source of given frames at their grid times."""

    duration_s = None

    def __init__(self, frames: list[np.ndarray], clock: Clock) -> None:
        self.frame_interval_s = clock.frame_interval_s
        self._batches = iter(
            FrameBatch(f[None], np.array([clock.time_of(k)])) for k, f in enumerate(frames, start=1)
        )

    def read(self) -> FrameBatch | None:
        return next(self._batches, None)

    def close(self) -> None:
        pass


def live(
    frames: list[np.ndarray], questions: list[Question], clock: Clock, frames_per_turn: int
) -> list[EnvTurn]:
    async def watch() -> list[EnvTurn]:
        env = StreamingEnv(GridFrames(frames, clock), questions, frames_per_turn, turns_ahead=0)
        turns, shown = [], await env.open()
        while isinstance(shown, EnvTurn):
            turns.append(shown)
            shown = await env.step(Silence())
        return turns

    return asyncio.run(watch())


def told(turns: list[EnvTurn]) -> list[tuple[str, float, list[float]]]:
    return [(turn.text, turn.clock_s, turn.frames.pts_s.tolist()) for turn in turns]


@settings(max_examples=60, deadline=None)
@given(
    Times,
    st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.7]),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(0, 3),
)
def test_streams_examples_and_dialogues_agree(
    times_s: list[float],
    frame_interval_s: float,
    frames_per_turn: int,
    num_frames: int,
    num_turns_out: int,
) -> None:
    clock = Clock(frame_interval_s)
    frames = [np.full((2, 2, 3), k, np.uint8) for k in range(num_frames)]
    questions = [Question(f"question {k}", time_s) for k, time_s in enumerate(sorted(times_s))]
    expected = live(frames, questions, clock, frames_per_turn)
    assert told(shown_turns(frames, questions, clock, frames_per_turn)) == told(expected)

    task = Task("task", tuple(questions), ())
    dialogue = write_dialogue(
        task, num_frames, clock, system="", silence="-", frames_per_turn=frames_per_turn
    )
    assert [turn.text for turn in dialogue.turns if turn.role == "user"] == [
        turn.text for turn in expected
    ]

    num_out = min(
        num_turns_out, len(expected) - 1
    )  # turns left out: their questions stand in the first one shown
    left = shown_turns(
        frames[num_out * frames_per_turn :],
        questions,
        clock,
        frames_per_turn,
        num_out * frames_per_turn,
    )
    first = "\n".join(turn.text for turn in expected[: num_out + 1] if turn.text)
    assert told(left) == [(first, *told(expected)[num_out][1:]), *told(expected)[num_out + 1 :]]


def test_a_question_one_turn_late_is_noticed() -> None:
    frames = [np.zeros((2, 2, 3), np.uint8)] * 4
    shown = told(shown_turns(frames, [Question("question", 2.5)], Clock(1.0), 1))
    assert shown == told(live(frames, [Question("question", 2.5)], Clock(1.0), 1))
    assert shown != told(live(frames, [Question("question", 3.5)], Clock(1.0), 1))
