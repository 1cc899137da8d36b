"""The one loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np

from oncue.env.fixed_turns import FixedTurns
from oncue.rollout import run_episode, without_pixels
from oncue.types import (
    Action,
    EnvTurn,
    Exchange,
    FrameBatch,
    PolicyTurn,
    Reply,
    Silence,
    StopReason,
    Task,
)


class Countdown:
    """An environment that pulls: it shows frames until told "enough", at most `limit` times."""

    def __init__(self, limit: int) -> None:
        self.limit, self.actions = limit, list[Action]()

    def turn(self) -> EnvTurn:
        number = len(self.actions) + 1
        return EnvTurn(
            FrameBatch(np.full((2, 3, 3, 3), number, np.uint8), np.array([number - 0.5, number])),
            number,
        )

    async def open(self) -> EnvTurn | StopReason:
        return self.turn() if self.limit else StopReason.SOURCE_ENDED

    async def step(self, action: Action) -> EnvTurn | StopReason:
        self.actions.append(action)
        if action == Reply("enough"):
            return StopReason.CANCELLED
        return self.turn() if len(self.actions) < self.limit else StopReason.MAX_TURNS


class Says:
    def __init__(self, *actions: Action) -> None:
        self.actions = list(actions)

    async def respond(self, observed: EnvTurn) -> PolicyTurn:  # noqa: ARG002
        return PolicyTurn(self.actions.pop(0))

    def close(self) -> None:
        raise AssertionError("the caller owns the session")


TASK = Task("t")


def test_the_environment_shows_and_the_policy_acts_until_it_stops():
    env = Countdown(3)
    episode = asyncio.run(run_episode(env, Says(Silence(), Reply("a"), Silence()), TASK))
    assert [e.observed.clock_s for e in episode.exchanges] == [1, 2, 3]
    assert env.actions == [Silence(), Reply("a"), Silence()]
    assert (episode.task, episode.stop) == (TASK, StopReason.MAX_TURNS)
    assert [(r.time_s, r.text) for r in episode.replies] == [(2, "a")]


def test_what_the_policy_does_can_end_it():
    episode = asyncio.run(run_episode(Countdown(9), Says(Silence(), Reply("enough")), TASK))
    assert (len(episode.exchanges), episode.stop) == (2, StopReason.CANCELLED)


def test_an_environment_with_nothing_to_show():
    episode = asyncio.run(run_episode(Countdown(0), Says(), TASK))
    assert (episode.exchanges, episode.stop) == ((), StopReason.SOURCE_ENDED)


def test_exchanges_are_reported_as_they_happen_and_whole():
    env, seen = Countdown(2), list[tuple[int, Exchange]]()
    episode = asyncio.run(
        run_episode(
            env,
            Says(Silence(), Reply("b")),
            TASK,
            lambda e: seen.append((len(env.actions), e)),
            keep_frames=False,
        )
    )
    assert [num_steps for num_steps, _ in seen] == [0, 1]  # before the environment moved on
    assert [e.observed.frames.pixels.shape for _, e in seen] == [(2, 3, 3, 3)] * 2
    kept = [e.observed.frames for e in episode.exchanges]
    assert [f.pixels.nbytes for f in kept] == [0, 0]
    assert [f.pts_s.tolist() for f in kept] == [[0.5, 1.0], [1.5, 2.0]]
    assert [len(f) for f in kept] == [2, 2]


def test_frames_are_kept_unless_told_otherwise():
    episode = asyncio.run(run_episode(Countdown(2), Says(Silence(), Silence()), TASK))
    assert all(e.observed.frames.pixels.shape == (2, 3, 3, 3) for e in episode.exchanges)


class Foresees(Says):
    def __init__(self, *actions: Action) -> None:
        super().__init__(*actions)
        self.foreseen: list[EnvTurn] = []

    def foresee(self, turns: Iterable[EnvTurn]) -> None:
        self.foreseen += turns


def test_a_session_that_foresees_is_told_what_the_environment_knows():
    turns = [EnvTurn(FrameBatch.empty(), float(k)) for k in (1, 2, 3)]
    session = Foresees(Silence(), Silence(), Silence())
    episode = asyncio.run(run_episode(FixedTurns(turns), session, TASK))
    assert session.foreseen == [exchange.observed for exchange in episode.exchanges] == turns


def test_without_pixels_the_order_the_marks_and_the_text_stay() -> None:
    frames = FrameBatch(np.ones((2, 3, 3, 3), np.uint8), np.array([1.0, 2.0]), ("a", "b"))
    wide = FrameBatch(np.ones((1, 3, 5, 3), np.uint8), np.array([3.0]))
    turn = EnvTurn(["See", frames, "and", wide], 3.0)
    bare = without_pixels(Exchange(turn, PolicyTurn(Silence()))).observed
    assert [
        part if isinstance(part, str) else (part.marks, part.pts_s.tolist())
        for part in bare.content
    ] == [
        "See",
        (("a", "b"), [1.0, 2.0]),
        "and",
        ((), [3.0]),
    ]
    assert sum(pixels.nbytes for pixels in bare.pictures) == 0
