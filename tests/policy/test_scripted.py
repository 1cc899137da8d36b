"""Policies without weights."""

from __future__ import annotations

import asyncio

import pytest

from oncue.errors import ConfigError
from oncue.policy.scripted import ScriptedPolicy, SilentPolicy, TalkPolicy
from oncue.types import Action, EnvTurn, FrameBatch, PolicySession, Reply, Silence


def acted(policy: PolicySession, *clocks_s: float) -> list[Action]:
    async def go() -> list[Action]:
        turns = [await policy.respond(EnvTurn(FrameBatch.empty(), clock_s)) for clock_s in clocks_s]
        policy.close()
        assert all(turn.sampled for turn in turns)
        return [turn.action for turn in turns]

    return asyncio.run(go())


def test_a_script_is_said_once_at_the_first_turn_at_or_after_its_time() -> None:
    policy = ScriptedPolicy({4.5: "late", 2.0: "early"})
    assert acted(policy, 1, 2, 3, 4, 5, 6) == [
        Silence(),
        Reply("early"),
        Silence(),
        Silence(),
        Reply("late"),
        Silence(),
    ]


def test_texts_due_in_the_same_turn_are_joined_in_order_of_time() -> None:
    assert acted(ScriptedPolicy({3.0: "b", 2.5: "a", 9.0: "never"}), 2, 4) == [
        Silence(),
        Reply("a\nb"),
    ]


def test_silent_and_talking() -> None:
    assert acted(SilentPolicy(), 1, 2) == [Silence(), Silence()]
    assert acted(TalkPolicy("Look!"), 1, 2) == [Reply("Look!"), Reply("Look!")]


def test_a_reply_without_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="3"):
        ScriptedPolicy({3.0: "  "})
    with pytest.raises(ConfigError):
        TalkPolicy("")
