"""When a server fails: what may pass is tried again, the rest is one clear error, and no turn is
lost."""

from __future__ import annotations

import ast
import asyncio
import email.utils
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chat_support import SILENT, SPOKEN, scripted, talk, turns

import oncue
from oncue.chat_client import ChatClient, Retries, base_url
from oncue.errors import BackendError, ConfigError
from oncue.policy.chat_server import ChatServer, ServerOptions, connect
from oncue.types import PolicyTurn, Reply, Silence
from openai_server import Cut, Event, Fault, Hang, Json, OpenAIServer, Page, Status, Unfinished

FAST = Retries(max_retries=2, first_wait_s=0.001, longest_wait_s=0.002)
PASSING: list[Fault] = [
    *(Status(code) for code in (408, 409, 429, 500, 503)),
    Status(502, raw="<html>Bad gateway</html>"),
    Cut(None),
    Cut(0),
    Cut(1),
    Unfinished(),
    Unfinished("abort"),
    Event("{'single quotes'"),
    Event("[1, 2]"),
    Event('"text"'),
    Event('{"choices": [{"delta": null, "finish_reason": "stop"}]}'),
    Event('{"choices": [{"delta": {"content": 7}, "finish_reason": "stop", "logprobs": null}]}'),
    Event(
        '{"choices": [{"delta": {"content": "A"}, "finish_reason": "stop", '
        '"logprobs": {"content": [1]}}]}'
    ),
    Event('{"error": {"message": "out of memory", "code": 500}}'),
    Event('{"error": {"message": "overloaded", "code": "server_error"}}'),
    Page(),
    Hang(),
    Hang(after_head=True),
]
FINAL: list[Fault] = [
    *(Status(code) for code in (401, 403, 404)),
    Event('{"error": {"message": "no", "code": 403}}'),
]


def chat(server: OpenAIServer, timeout_s: float = 30.0, retries: Retries = FAST) -> ChatServer:
    return ChatServer(
        server.url,
        "watcher",
        ServerOptions(timeout_s=timeout_s, retries=retries),
        api_key="sk-secret",
    )


def patience(fault: Fault) -> float:
    """The time limit to meet `fault` with: a short one only for what must run into it."""
    return 1.0 if isinstance(fault, Hang) else 30.0


# In the request for the first token, all; in that for the rest of a reply, one of each sort
AT = [*((fault, 0) for fault in PASSING), *((fault, 1) for fault in (Status(503), Cut(1), Page()))]


@pytest.mark.parametrize(("fault", "place"), AT, ids=str)
def test_what_may_pass_is_tried_again_and_nothing_is_lost(fault: Fault, place: int) -> None:
    with OpenAIServer(scripted(SPOKEN, SILENT, SPOKEN)) as server:
        server.faults.extend([None] * 4)  # the first two turns
        server.faults.extend([None] * place + [fault, fault])
        answers = talk(chat(server, patience(fault)), turns(4))
        assert len(server.bodies) == 7 + 2
        failed, again = server.bodies[4 + place], server.bodies[6 + place]
    assert failed == again
    assert [answer.action for answer in answers] == [Reply("A man comes in."), Silence()] * 2


@pytest.mark.parametrize("fault", [*PASSING, *FINAL], ids=str)
def test_a_failure_that_stays_is_an_error_and_the_turn_can_be_shown_again(fault: Fault) -> None:
    async def hold(server: OpenAIServer) -> list[PolicyTurn]:
        policy = chat(server, patience(fault))
        session = policy.open()
        answers = [await session.respond(turn) for turn in turns(2)]
        num_tries = FAST.max_retries + 1 if fault in PASSING else 1
        server.faults.extend([fault] * num_tries)
        before = len(server.bodies)
        with pytest.raises(BackendError, match="no answer"):
            await session.respond(turns(3)[2])
        assert len(server.bodies) == before + num_tries
        answers += [await session.respond(turn) for turn in turns(4)[2:]]
        await policy.aclose()
        return answers

    script = scripted(SPOKEN, SILENT, SPOKEN)
    with OpenAIServer(script) as server, OpenAIServer(script) as calm:
        answers, expected = asyncio.run(hold(server)), talk(chat(calm), turns(4))
        assert server.bodies[-1] == calm.bodies[-1]  # the same dialogue as without the failure
    assert [answer.action for answer in answers] == [answer.action for answer in expected]


def test_a_failed_turn_neither_cuts_nor_moves_the_dialogue() -> None:
    async def hold(server: OpenAIServer) -> None:
        policy = chat(server)
        session = policy.open()
        for turn in turns(64):
            await session.respond(turn)
        server.faults.extend([Status(500)] * 3)
        with pytest.raises(BackendError):
            await session.respond(turns(1)[0])
        assert session.num_rounds == 64
        await session.respond(turns(1)[0])
        assert session.num_rounds == 33
        await policy.aclose()

    with OpenAIServer(scripted()) as server:
        asyncio.run(hold(server))


def test_cancelling_closes_the_request_and_leaves_the_session_as_it_was() -> None:
    async def hold(server: OpenAIServer) -> list[Json]:
        policy = chat(server)
        session = policy.open()
        await session.respond(turns(1)[0])
        for fault in (Hang(), Hang(after_head=True)):
            server.faults.append(fault)
            num_before = len(server.received)
            asked = asyncio.ensure_future(session.respond(turns(2)[1]))
            while len(server.received) == num_before:
                await asyncio.sleep(0.01)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            while server.num_left < len(server.received) - 1:
                await asyncio.sleep(0.01)
        assert (await session.respond(turns(2)[1])).action == Silence()
        await policy.aclose()
        return server.bodies

    with OpenAIServer(scripted()) as server:
        bodies = asyncio.run(asyncio.wait_for(hold(server), 30))
    assert bodies[1] == bodies[2] == bodies[3]


@pytest.mark.parametrize("written", ["0.4", "date"])
def test_the_server_says_when_to_come_back(written: str) -> None:
    when = written if written != "date" else email.utils.formatdate(time.time() + 2, usegmt=True)
    with OpenAIServer(scripted()) as server:
        server.faults.append(Status(429, {"Retry-After": when}))
        talk(chat(server), turns(1))
        first, second = server.received
    assert (
        second.arrived_s - first.arrived_s >= 0.35
    )  # a date is cut to whole seconds: between 1 s and 2 s


def test_waits_double_and_are_bounded() -> None:
    retries = Retries(max_retries=5, first_wait_s=1.0, longest_wait_s=6.0, longest_asked_s=30.0)
    assert [retries.wait_s(k, None, 0.0) for k in range(1, 7)] == [1.0, 2.0, 4.0, 6.0, 6.0, None]
    assert retries.wait_s(1, None, 1.0) == 0.5
    assert retries.wait_s(2, 7.0, 0.5) == 7.0
    assert retries.wait_s(1, -3.0, 0.5) == 0.0
    assert retries.wait_s(1, 30.0, 0.5) == 30.0
    assert retries.wait_s(1, 31.0, 0.5) is None
    assert [Retries().wait_s(k, None, 0.0) for k in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]
    assert [Retries().wait_s(1, asked_s, 0.0) for asked_s in (60.0, 60.1)] == [60.0, None]
    assert [Retries(9000).wait_s(k, None, 0.0) for k in (4, 5, 6, 7, 9000)] == [
        4.0,
        8.0,
        8.0,
        8.0,
        8.0,
    ]


@pytest.mark.parametrize(
    "numbers", [{"max_retries": -1}, {"first_wait_s": -1.0}, {"first_wait_s": 9.0}]
)
def test_retries_out_of_range_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Retries(**numbers)  # type: ignore[arg-type]


def test_a_server_that_wants_to_be_left_alone_is() -> None:
    with OpenAIServer(scripted()) as server:
        server.faults.append(Status(429, {"Retry-After": "3600"}, "come back tomorrow"))
        with pytest.raises(
            BackendError, match="come back tomorrow; it asks to come back in 3600 s"
        ):
            talk(chat(server), turns(1))
        assert len(server.bodies) == 1


def test_a_wrong_request_is_sent_once_with_and_once_without_the_extra_fields() -> None:
    with OpenAIServer(scripted()) as server:
        server.faults.extend([Status(400, message="no such option")] * 2)
        policy = chat(server)
        with pytest.raises(BackendError, match=r"refused the request.*no such option"):
            talk(policy, turns(1))
        assert [sorted({"logprobs"} & set(body)) for body in server.bodies] == [["logprobs"], []]
        talk(policy, turns(1))
        assert "logprobs" in server.bodies[-1]  # they were not to blame


def test_the_key_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    with OpenAIServer(scripted()) as server:
        server.faults.extend(
            [Status(500, message="you sent {key}"), Status(401, message="wrong: {key}")]
        )
        policy = chat(server)
        with pytest.raises(BackendError, match="OPENAI_API_KEY") as raised:
            talk(policy, turns(1))
        assert server.received[0].headers["authorization"] == "Bearer sk-secret"
    shown = str(raised.value) + caplog.text + repr(policy.client) + repr(raised.value)
    assert "Bearer ***" in shown
    assert "secret" not in shown


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(scripted()) as server:
        for key, expected in (("sk-mine", "Bearer sk-mine"), ("", "Bearer none")):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            talk(ChatServer(server.url, "watcher"), turns(1))
            assert server.received[-1].headers["authorization"] == expected


def test_a_long_complaint_is_cut() -> None:
    with OpenAIServer(scripted()) as server:
        server.faults.append(Status(404, message="x" * 100_000))
        with pytest.raises(BackendError) as raised:
            talk(chat(server), turns(1))
    assert len(str(raised.value)) < 600


def test_nobody_there() -> None:
    with OpenAIServer(scripted()) as server:
        url = server.url
    with pytest.raises(BackendError, match="after 3 tries"):
        talk(ChatServer(url, "watcher", ServerOptions(retries=FAST)), turns(1))
    with pytest.raises(BackendError, match="no connection"):
        connect(url, options=ServerOptions(retries=FAST))


def test_a_server_that_lists_no_models_wants_one_named() -> None:
    with OpenAIServer(scripted(), models=None) as server, pytest.raises(BackendError, match="404"):
        connect(server.url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("https://host/v1/", "https://host/v1"),
        ("HTTPS://host/api/v3", "HTTPS://host/api/v3"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert base_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://a b",
        "http://me:pass@host/v1",
        "http://host/v1?key=pass",
    ],
)
def test_no_addresses(url: str) -> None:
    with pytest.raises(ConfigError, match="http") as raised:
        base_url(url)
    assert "pass" not in str(raised.value)


def test_the_client_library_is_imported_only_to_talk() -> None:
    for path in Path(oncue.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "openai" not in {name.split(".")[0] for name in names}, path
    modules = "oncue.cli, oncue.commands.watch, oncue.policy.chat_server"
    code = f"import sys, {modules}; print({{'openai', 'torch'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_client_serves_one_event_loop_after_the_other() -> None:
    with OpenAIServer(scripted()) as server:
        client = ChatClient(base_url(server.url))
        for _ in range(2):
            assert asyncio.run(client.model_names()) == ["watcher"]
        asyncio.run(client.aclose())  # of the loop before: nothing to wait for
