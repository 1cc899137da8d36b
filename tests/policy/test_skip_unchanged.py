"""Turns in which nothing has changed are answered with silence, without the policy behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from oncue.engine.engine import Engine, SamplingParams
from oncue.errors import ConfigError
from oncue.policy.scripted import ScriptedPolicy
from oncue.policy.skip_unchanged import SkipUnchanged
from oncue.scoring.metrics import Transcript
from oncue.types import (
    EnvTurn,
    Episode,
    Exchange,
    FrameBatch,
    PolicyTurn,
    Reply,
    Silence,
    StopReason,
    Task,
)
from oncue.video.change import grey_difference, small_grey


class Remembering:
    """Speaks at every turn, and remembers which it was shown."""

    def __init__(self) -> None:
        self.shown_s: list[float] = []
        self.closed = False
        self.fails = False

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        if self.fails:
            raise RuntimeError("no answer")
        self.shown_s.append(observed.clock_s)
        return PolicyTurn(Reply("seen"), token_ids=(1, 2), logprobs=(-0.5, -0.5))

    def close(self) -> None:
        self.closed = True


def frame(level: int) -> np.ndarray:
    return np.full((56, 84, 3), level, np.uint8)


def turn(clock_s: float, *levels: int, text: str = "") -> EnvTurn:
    pixels = (
        np.stack([frame(level) for level in levels]) if levels else np.zeros((0, 0, 0, 3), np.uint8)
    )
    return EnvTurn(FrameBatch(pixels, np.full(len(levels), clock_s)), clock_s, text)


def respond(session: SkipUnchanged, turns: Sequence[EnvTurn]) -> list[PolicyTurn]:
    async def all_of_them() -> list[PolicyTurn]:
        return [await session.respond(observed) for observed in turns]

    return asyncio.run(all_of_them())


def shown_of(levels: Sequence[int], threshold: float) -> list[float]:
    """At which seconds the policy behind is shown a frame, one a second."""
    inner = Remembering()
    respond(
        SkipUnchanged(inner, threshold), [turn(k + 1.0, level) for k, level in enumerate(levels)]
    )
    return inner.shown_s


def test_what_looks_like_the_last_frame_shown_is_silence_and_the_policy_is_not_asked() -> None:
    inner = Remembering()
    session = SkipUnchanged(inner, 2.0)
    answers = respond(
        session, [turn(k + 1.0, level) for k, level in enumerate([50, 50, 51, 49, 60, 60])]
    )
    assert inner.shown_s == [1.0, 5.0]
    assert [type(answer.action) for answer in answers] == [
        Reply,
        Silence,
        Silence,
        Silence,
        Reply,
        Silence,
    ]
    assert answers[0].token_ids == (1, 2)
    assert (answers[1].token_ids, answers[1].logprobs) == ((), ())
    assert session.num_skipped == 4


def test_the_threshold_itself_is_a_change() -> None:
    assert shown_of([50, 52], 2.0) == [1.0, 2.0]
    assert shown_of([50, 52], 2.01) == [1.0]


def test_a_slow_drift_adds_up_until_it_is_shown() -> None:
    levels = list(range(50, 62))
    steps = [
        grey_difference(small_grey(frame(a)), small_grey(frame(b)))
        for a, b in itertools.pairwise(levels)
    ]
    assert max(steps) < 4  # the control: from frame to frame it never reaches the threshold
    assert shown_of(levels, 4.0) == [1.0, 5.0, 9.0]


def test_a_change_and_its_undoing_are_both_shown() -> None:
    assert shown_of([50, 90, 50, 50], 4.0) == [1.0, 2.0, 3.0]


def test_text_is_always_shown_and_moves_what_is_compared_with() -> None:
    inner = Remembering()
    session = SkipUnchanged(inner, 5.0)
    respond(session, [turn(1, 50), turn(2, 54, text="And now?"), turn(3, 58), turn(4, 60), turn(5)])
    assert inner.shown_s == [
        1,
        2,
        4,
        5,
    ]  # 58 is like 54, though not like 50; a turn without frames is shown
    assert session.num_skipped == 1


def test_one_changed_frame_among_several_is_enough() -> None:
    inner = Remembering()
    respond(
        SkipUnchanged(inner, 5.0),
        [turn(1, 50, 50), turn(2, 50, 51), turn(3, 50, 90), turn(4, 90, 90)],
    )
    assert inner.shown_s == [1, 3]


def test_what_the_policy_failed_on_was_not_shown() -> None:
    inner = Remembering()
    session = SkipUnchanged(inner, 5.0)
    inner.fails = True
    with pytest.raises(RuntimeError, match="no answer"):
        respond(session, [turn(1, 50)])
    inner.fails = False
    respond(session, [turn(2, 50)])
    assert inner.shown_s == [2]


def test_a_skipped_turn_counts_as_a_silent_turn() -> None:
    turns = [turn(k + 1.0, 50) for k in range(4)]
    answers = respond(SkipUnchanged(ScriptedPolicy({}), 1.0), turns)
    exchanges = tuple(
        Exchange(observed, acted) for observed, acted in zip(turns, answers, strict=True)
    )
    transcript = Transcript.of(Episode(Task("t"), exchanges, StopReason.SOURCE_ENDED))
    assert (transcript.num_turns, transcript.num_silent) == (4, 4)


def test_skipped_turns_leave_nothing_in_the_context(tiny_loaded) -> None:
    """The session behind is as if it had only been shown what was shown."""
    turns = [
        turn(1, 50, text="What changes?"),
        turn(2, 50),
        turn(3, 51),
        turn(4, 200),
        turn(5, 200),
    ]
    with Engine(tiny_loaded, SamplingParams(max_new_tokens=4)) as engine:
        filtered, plain, control = engine.open(), engine.open(), engine.open()
        respond(SkipUnchanged(filtered, 5.0), turns)

        async def hold() -> None:
            for k in (0, 3):
                await plain.respond(turns[k])
            for observed in turns:
                await control.respond(observed)

        asyncio.run(hold())
        assert filtered.context_ids == plain.context_ids
        assert filtered.context_ids != control.context_ids
        filtered.close(), plain.close(), control.close()


def test_closing_closes_the_session_behind() -> None:
    inner = Remembering()
    SkipUnchanged(inner, 1.0).close()
    assert inner.closed


@pytest.mark.parametrize("threshold", [0.0, -1.0, 255.1, float("nan"), float("inf")])
def test_a_threshold_that_cannot_be_is_refused(threshold) -> None:
    with pytest.raises(ConfigError, match="at most 255"):
        SkipUnchanged(Remembering(), threshold)
