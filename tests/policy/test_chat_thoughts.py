"""A model behind a server that thinks before it answers: what it thinks is neither spoken nor sent
back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from chat_support import SILENT, SPOKEN, scripted, talk, turns

from oncue.policy.chat_server import ChatServer, ServerOptions
from oncue.types import Malformed, PolicyTurn, Reply, Silence
from openai_server import Event, OpenAIServer

THOUGHTS: list[Sequence[str]] = [
    ("<think>", "\n\n", "</think>", "\n\n"),
    ("<think>", "\n", "NO", " one", " yet", ".", "\n", "</think>", "\n\n"),
    ("<", "think", ">", "A", " man", "?", "</", "think", ">"),
    ("I", " see", ".", "\n", "</think>", "\n\n"),  # its template opens the thought
]
SAID = [Silence(), Reply("A man comes in."), Silence(), Reply("A man comes in."), Silence()]
HISTORY = ["NO REPLY", "A man comes in.", "NO REPLY", "A man comes in."]


def ask(server: OpenAIServer, num_turns: int, **options: Any) -> list[PolicyTurn]:
    return talk(ChatServer(server.url, "watcher", ServerOptions(**options)), turns(num_turns))


def history(server: OpenAIServer) -> list[str]:
    """What the policy said so far, as the newest request has it."""
    return [
        message["content"]
        for message in server.bodies[-1]["messages"]
        if message["role"] == "assistant"
    ]


@pytest.mark.parametrize("thought", THOUGHTS, ids=["empty", "whole", "in pieces", "closed only"])
@pytest.mark.parametrize("continuation", ["honoured", "ignored"])
@pytest.mark.parametrize("verify_silence", [False, True])
def test_silence_and_replies_are_read_behind_the_thoughts(
    thought: Sequence[str], continuation, verify_silence: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [(*thought, *(SPOKEN if isinstance(said, Reply) else SILENT)) for said in SAID]
    with OpenAIServer(scripted(*answers), continuation=continuation) as server:
        answered = ask(server, len(SAID), verify_silence=verify_silence)
        assert [body["max_tokens"] for body in server.bodies] == [
            1,
            *[512] * len(SAID),
        ]  # the first token, then wholes
        assert history(server) == HISTORY
    assert [turn.action for turn in answered] == SAID
    assert caplog.text.count("thinks first") == 1


@pytest.mark.parametrize("verify_silence", [False, True])
def test_a_thought_that_begins_like_silence_is_none(verify_silence: bool) -> None:
    first = () if verify_silence else (("I", " look", "</think>", *SILENT),)
    thinking = ("NO", " REPLY", "?", " No", "</think>", *SPOKEN)
    with OpenAIServer(scripted(*first, thinking)) as server:
        answered = ask(server, len(first) + 1, verify_silence=verify_silence)
    assert answered[-1].action == Reply("A man comes in.")


@pytest.mark.parametrize("mark", [("<think>",), ()], ids=["opened", "opened by the template"])
def test_a_thought_that_the_limit_cuts_is_never_spoken(mark: Sequence[str]) -> None:
    short, long = (
        (*mark, "I", "</think>", *SPOKEN),
        (*mark, *["A", " man", "?"] * 9, "</think>", *SPOKEN),
    )
    with OpenAIServer(scripted(short, long, short)) as server:
        _, cut, after = ask(server, 3, max_new_tokens=12)
        assert history(server) == ["A man comes in.", "NO REPLY"]
    assert isinstance(cut.action, Malformed)
    assert "--max-new-tokens" in cut.action.reason
    assert cut.forced_close
    assert after.action == Reply("A man comes in.")


def test_a_long_reply_of_a_model_that_does_not_think_is_still_cut_and_spoken() -> None:
    with OpenAIServer(scripted(SPOKEN)) as server:
        assert ask(server, 1, max_new_tokens=3)[0].action == Reply("A man comes", truncated=True)


def test_the_first_token_of_a_thought_says_nothing_of_silence() -> None:
    probabilities: list[float | None] = []
    with OpenAIServer(
        scripted(("<think>", "</think>", *SILENT), ("NO", "?", "</think>", *SPOKEN))
    ) as server:
        talk(ChatServer(server.url, "watcher"), turns(2), probabilities)
    assert probabilities == [None, None]


def test_thoughts_that_a_server_keeps_apart_cost_one_request_per_turn() -> None:
    def event(content: str, finish: str) -> Event:
        delta = {"content": content, "reasoning_content": "NO"}
        return Event(
            json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        )

    with OpenAIServer(scripted()) as server:
        server.faults.extend(
            [event("", "length"), event("NO REPLY", "stop"), event("A man.", "stop")]
        )
        answered = ask(server, 2)
        assert len(server.bodies) == 3
    assert [turn.action for turn in answered] == [Silence(), Reply("A man.")]
