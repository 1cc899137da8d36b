"""Servers that take less than they are sent: prompts shrink, and the limit is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from chat_support import SILENT, SPOKEN, scripted, talk, turns

from oncue.chat_limits import exceeded
from oncue.errors import BackendError, ContextFullError
from oncue.policy.chat_server import ChatServer, ServerOptions
from oncue.policy.chat_window import PromptBounds, Round, RoundWindow, Size, size_of
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Reply
from openai_server import Json, OpenAIServer, Status

NUM_TURNS = 14
QUESTION = "What happens?"


def num_images(body: Json) -> int:
    contents = [message["content"] for message in body["messages"]]
    return sum(
        part["type"] == "image_url"
        for content in contents
        if isinstance(content, list)
        for part in content
    )


def num_questions(body: Json) -> int:
    return str(body["messages"]).count(QUESTION)


def images(most: int) -> Callable[[Json], Status | None]:
    """As vLLM refuses more images than that."""
    said = f"At most {most} image(s) may be provided in one prompt."
    return lambda body: Status(400, message=said) if num_images(body) > most else None


def tokens(
    most: int, said: str, code: int = 400, error_code: str | None = None
) -> Callable[[Json], Status | None]:
    """A context of `most` tokens, of which an image takes 100 and what is written all that it
    may."""

    def refuse(body: Json) -> Status | None:
        too_many = num_images(body) * 100 + body["max_tokens"] > most
        return Status(code, message=said, error_code=error_code) if too_many else None

    return refuse


def payload(most: int) -> Callable[[Json], Status | None]:
    """As a proxy refuses long bodies."""
    page = "<html><h1>413 Request Entity Too Large</h1></html>"
    return lambda body: Status(413, raw=page) if len(str(body)) > most else None


REFUSALS: dict[str, Callable[[Json], Status | None]] = {
    "images, vLLM": images(4),
    "images, SGLang": lambda body: (
        Status(400, message="Image count 5 exceeds limit 4 per request.")
        if num_images(body) > 4
        else None
    ),
    "tokens, vLLM": tokens(
        700, "This model's maximum context length is 700 tokens. However, you requested 712 tokens."
    ),
    "tokens, SGLang": tokens(
        700, "The input (712 tokens) is longer than the model's context length (700 tokens)."
    ),
    "tokens, llama.cpp": tokens(
        700, "the request exceeds the available context size (700 tokens), try increasing it"
    ),
    "tokens, OpenAI": tokens(700, "Please shorten it.", error_code="context_length_exceeded"),
    "tokens, TGI": tokens(
        700, "`inputs` tokens + `max_new_tokens` must be <= 700. Given: 712 `inputs` tokens", 422
    ),
    "bytes": payload(12_000),
}


def watched(server: OpenAIServer, num_turns: int = NUM_TURNS, **options: Any) -> list[PolicyTurn]:
    chat = ChatServer(server.url, "watcher", ServerOptions(**{"max_new_tokens": 64, **options}))
    return talk(chat, turns(num_turns, QUESTION))


@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_that_takes_less_is_shown_less_from_then_on(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    refuse, refused = REFUSALS[name], []

    def counted(body: Json) -> Status | None:
        refused.append(refuse(body) is not None)
        return refuse(body)

    with OpenAIServer(scripted(SPOKEN), refuse=counted) as server:
        answers = watched(server)
        assert all(num_questions(body) == 1 for body in server.bodies)
        newest = server.bodies[-1]["messages"]
    assert len(answers) == NUM_TURNS
    assert answers[0].action == Reply("A man comes in.")
    assert 1 <= sum(refused) <= 2
    assert not any(refused[-8:])  # two or more cuts later
    assert {"role": "assistant", "content": "A man comes in."} in newest
    assert caplog.text.count("old turns are left out from now on") == 1


def test_what_is_left_out_is_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    shown = turns(NUM_TURNS, QUESTION)
    with OpenAIServer(scripted(), refuse=images(6)) as server:
        chat = ChatServer(server.url, "watcher")
        talk(chat, shown)
        users = [message for message in server.bodies[-1]["messages"] if message["role"] == "user"]
        sent = [chat.user_message(turn) for turn in shown]
    assert users == [sent[0], *sent[-len(users) + 1 :]]
    assert 3 <= len(users) <= 6
    assert "At most 6 image(s)" in caplog.text


def test_sessions_on_one_server_share_what_was_learned() -> None:
    with OpenAIServer(scripted(), refuse=images(4)) as server:
        chat = ChatServer(server.url, "watcher")
        talk(chat, turns(NUM_TURNS))
        num_before = len(server.bodies)
        talk(chat, turns(NUM_TURNS))
        assert len(server.bodies) == num_before + NUM_TURNS


def test_a_server_that_takes_less_later_is_followed() -> None:
    with OpenAIServer(scripted(), refuse=images(10)) as server:
        chat = ChatServer(server.url, "watcher")

        async def hold() -> None:
            session = chat.open()
            for turn in turns(30):
                if turn.clock_s == 15:
                    server.refuse = images(3)
                await session.respond(turn)

        asyncio.run(hold())
        assert all(num_images(body) <= 3 for body in server.bodies[-10:])


def test_one_image_is_enough_for_a_stream_with_a_question() -> None:
    with OpenAIServer(scripted(), refuse=images(1)) as server:
        assert len(watched(server)) == NUM_TURNS
        assert all(num_questions(body) == 1 for body in server.bodies)
        assert server.bodies[-1]["messages"][1] == {"role": "user", "content": QUESTION}


@pytest.mark.parametrize("refuse", [images(0), tokens(60, "maximum context length is 60 tokens")])
def test_a_limit_below_a_single_turn_is_one_clear_error(
    refuse: Callable[[Json], Status | None],
) -> None:
    with OpenAIServer(scripted(), refuse=refuse) as server:
        with pytest.raises(
            BackendError,
            match=r"is too large for the server .*not even one turn fits: .*--max-pixels",
        ):
            watched(server)
        assert len(server.bodies) == 1


def test_a_limit_that_shrinks_to_nothing_ends_in_that_error_too() -> None:
    with OpenAIServer(scripted()) as server:
        chat = ChatServer(server.url, "watcher")

        async def hold() -> None:
            session = chat.open()
            for turn in turns(40):
                if turn.clock_s == 30:
                    server.refuse = images(0)
                await session.respond(turn)

        with pytest.raises(BackendError, match="not even one turn fits"):
            asyncio.run(hold())
        assert len(server.bodies) < 29 + 10


def test_a_content_filter_is_no_limit() -> None:
    said = (
        "The response was filtered due to the prompt triggering content "
        "management policy, image limit exceeded."
    )
    with OpenAIServer(scripted()) as server:
        server.faults.extend(
            [None] * 5 + [Status(400, message=said, error_code="content_filter")] * 9
        )
        with pytest.raises(BackendError, match=r"refused the request.*filtered"):
            watched(server)
        assert len(server.bodies) == 5 + 2  # with the extra fields and without them


@pytest.mark.parametrize(
    ("status", "said", "unit"),
    [
        (400, "At most 4 image(s) may be provided in one request. You set it to 5.", "images"),
        (400, "Too many images provided. This model supports up to 5 images", "images"),
        (
            400,
            "This model's maximum context length is 128000 tokens. However, your messages resulted "
            "in 130000",
            "tokens",
        ),
        (
            400,
            "The decoder prompt (length 9000) is longer than the maximum model length of 4096.",
            "tokens",
        ),
        (
            400,
            "'max_tokens' is too large: 512. This model's maximum context length is 4096 tokens",
            "tokens",
        ),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "tokens"),
        (
            400,
            "The input token count (1200000) exceeds the maximum number of tokens allowed",
            "tokens",
        ),
        (413, "Request too large for model", "tokens"),
        (413, "Payload Too Large", "bytes"),
        (400, "unknown field top_logprobs", None),
        (400, "Unsupported parameter: 'max_tokens' is not supported with this model.", None),
        (400, "there is no model 'a'", None),
        (429, "too many tokens per minute", None),
        (500, "the input is longer than the context length", None),
    ],
)
def test_which_refusals_are_limits(status: int, said: str, unit: str | None) -> None:
    assert exceeded(status, said) == unit


def test_a_bound_in_tokens_takes_the_place_of_the_number_of_rounds() -> None:
    for context_tokens, most in ((100_000, 20), (None, 14)):
        with OpenAIServer(scripted()) as server:
            watched(server, 20, window=RoundWindow(14, 13), context_tokens=context_tokens)
            assert max(map(num_images, server.bodies)) == most


def test_prompts_stay_within_a_bound_in_tokens_and_are_cut_to_half() -> None:
    with OpenAIServer(scripted()) as server:
        chat = ChatServer(server.url, "watcher", ServerOptions(context_tokens=400))
        shown = turns(40, QUESTION)
        talk(chat, shown)
        one = chat.user_size(shown[1], chat.user_message(shown[1])) + size_of(
            {"content": "NO REPLY"}
        )
        counts = [num_images(body) for body in server.bodies]
        assert all(num_questions(body) == 1 for body in server.bodies)
    system = size_of(server.bodies[0]["messages"][0]).tokens
    assert one.tokens == 6 + 2 + 5 + 5 + 2  # vision tokens, their marks, two messages, NO REPLY
    assert max(counts) * one.tokens + system <= 400 + one.tokens
    assert (max(counts) + 1) * one.tokens + system > 400
    assert min(counts[max(counts) :]) == (200 - 4) // one.tokens + 1  # the question takes 4 more


def test_a_bound_that_a_turn_exceeds_is_an_error_before_anything_is_sent() -> None:
    with OpenAIServer(scripted()) as server:
        with pytest.raises(
            ContextFullError,
            match=r"at 1 s needs about \d+ tokens .* 60 are allowed; .*--context-tokens",
        ):
            watched(server, context_tokens=60)
        assert not server.bodies


def test_a_cut_keeps_the_newest_question_the_replies_and_the_newest() -> None:
    rounds = [
        Round(
            {"content": [{"type": "text", "text": str(k)}]},
            {"content": ""},
            str(k) * (k in (0, 4)),
            k == 2,
            Size(1, 10, 10),
        )
        for k in range(10)
    ]
    kept = RoundWindow().fitted(rounds, Size(1, 10, 10), {"images": 9})
    assert [rounds.index(turn) for turn in kept] == [0, 2, 4, 9]
    assert RoundWindow().fitted(rounds, Size(1, 10, 10), {"images": 11}) == tuple(rounds)
    (bare,) = RoundWindow().fitted(rounds, Size(1, 10, 10), {"images": 1})
    assert (bare.shown["content"], bare.size.images, bare.asked) == ("4", 0, True)


def test_a_turn_without_frames_has_a_size() -> None:
    chat = ChatServer("http://localhost:1", "watcher")
    shown = EnvTurn(FrameBatch.empty(), 1.0, "x" * 40)
    assert chat.user_size(shown, chat.user_message(shown)) == Size(0, 15, 40)


def test_a_reply_that_does_not_fit_behind_its_prompt_is_asked_for_behind_a_shorter_one() -> None:
    shown = turns(4, QUESTION)
    with OpenAIServer(
        scripted(), refuse=tokens(450, "maximum context length is 450 tokens")
    ) as server:
        chat = ChatServer(server.url, "watcher", ServerOptions(max_new_tokens=64))
        newest = chat.user_message(shown[3])
        server.script = lambda messages: SPOKEN if messages[-1] == newest else SILENT
        assert talk(chat, shown)[3].action == Reply("A man comes in.")
        limits = [(num_images(body), body["max_tokens"]) for body in server.bodies]
    assert limits[3:] == [(4, 1), (4, 64), (3, 1), (3, 64), (3, 8)]


def test_what_was_learned_is_never_forgotten() -> None:
    bounds = PromptBounds(RoundWindow())
    assert bounds.refused("images", Size(10, 500, 9000))
    assert bounds.refused("tokens", Size(3, 400, 9000))
    assert not bounds.refused(
        "images", Size(20, 900, 9000)
    )  # of a session that sent it before it was known
    assert bounds.learned == {"images": 9, "tokens": 360}
