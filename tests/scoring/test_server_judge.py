"""A model on a server as the judge: what it says, what becomes of failures, what is asked twice,
and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oncue.chat_client import Retries
from oncue.errors import BackendError, ConfigError, JudgeDownError
from oncue.scoring import server_judge
from oncue.scoring.score import Unscored
from oncue.scoring.server_judge import JudgeOptions, JudgeUsage, ServerJudge
from openai_server import (
    STANDARD_FIELDS,
    Cut,
    Event,
    Fault,
    Hang,
    Json,
    OpenAIServer,
    Page,
    Slow,
    Status,
    Unfinished,
)

FAST = Retries(max_retries=1, first_wait_s=0.001, longest_wait_s=0.002)
OPTIONS = JudgeOptions(retries=FAST)
PASSING: list[Fault] = [
    *(Status(code) for code in (429, 500, 503)),
    Cut(None),
    Cut(0),
    Unfinished(),
    Event("[1, 2]"),
    Page(),
]
COUNTED = STANDARD_FIELDS | {"stream_options"}

Asking = Callable[[ServerJudge], Coroutine[Any, Any, Any]]


def says(*answers: str) -> Callable[[Sequence[Json]], Sequence[str]]:
    """A model that gives these answers one after the other, and the last one from then on."""
    left = list(answers)
    return lambda _: [left.pop(0) if len(left) > 1 else left[0]]


def judge_on(
    server: OpenAIServer, options: JudgeOptions = OPTIONS, max_score: int = 4
) -> ServerJudge:
    return ServerJudge(server.url, "watcher", max_score, options, api_key="sk-secret")


def ask(judge: ServerJudge, *askings: Asking) -> list[Any]:
    """What the judge says, all asked at once."""

    async def hold() -> list[Any]:
        try:
            return list(await asyncio.gather(*(asking(judge) for asking in askings)))
        finally:
            await judge.aclose()

    return asyncio.run(hold())


def mark(reply: str = "A man.") -> Asking:
    return lambda judge: judge.coverage("Who?", "A man in red.", [reply])


def verdict(reply: str = "A man.") -> Asking:
    return lambda judge: judge.repeats(["Someone."], reply)


def test_answers_become_marks_and_verdicts() -> None:
    with OpenAIServer(says("1", "5", " 3\n")) as server:
        judge = judge_on(server)
        assert [ask(judge, mark(reply))[0] for reply in "abc"] == [0, 4, 2]
        assert "watcher" in judge.name
    with OpenAIServer(says("3")) as server:
        assert ask(judge_on(server, max_score=2), mark()) == [2]
    with OpenAIServer(says("yes", "No")) as server:
        assert [ask(judge_on(server), verdict(reply))[0] for reply in "ab"] == [True, False]
        assert ask(judge_on(server), lambda judge: judge.repeats((), "A man.")) == [False]
        assert len(server.bodies) == 2  # nothing was said before: no question
        assert server.received[0].headers["authorization"] == "Bearer sk-secret"
        assert [message["role"] for message in server.bodies[0]["messages"]] == ["system", "user"]


def test_another_form_of_answer_is_asked_for_once_more() -> None:
    with OpenAIServer(says("It is a 5.", "4")) as server:
        assert ask(judge_on(server), mark()) == [3]
        first, second = (body["messages"][1]["content"] for body in server.bodies)
        assert second.startswith(first)
        assert len(second) > len(first)
    with OpenAIServer(says("It is a 5.")) as server:
        (value,) = ask(judge_on(server), mark())
        assert isinstance(value, Unscored)
        assert "It is a 5." in value.reason
        assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "thought", ["<think>\n\n</think>\n\n", "<think>A 2?</think>", "It may be a 2.\n</think>\n"]
)
def test_a_judge_that_thinks_in_its_answer_is_read_behind_its_thoughts(thought: str) -> None:
    with OpenAIServer(says(f"{thought}**4**.")) as server:
        assert ask(judge_on(server), mark()) == [3]
    with OpenAIServer(says(f'{thought}{{"answer": "yes"}}')) as server:
        assert ask(judge_on(server), verdict()) == [True]
        assert len(server.bodies) == 1
    with OpenAIServer(says(f"{thought}4 or 5")) as server:
        (value,) = ask(judge_on(server), mark())
        assert isinstance(value, Unscored)
        assert "answered '4 or 5'" in value.reason


def test_answers_of_an_earlier_version_of_the_questions_are_not_used(tmp_path: Path) -> None:
    """A version that read answers in another way may have kept what this one would not."""
    options = replace(OPTIONS, cache=tmp_path / "answers.sqlite3")
    with OpenAIServer(says("4", "2")) as server:
        with pytest.MonkeyPatch.context() as earlier:
            earlier.setattr(server_judge, "PROMPT_VERSION", "1")
            assert ask(judge_on(server, options), mark()) == [3]
        assert ask(judge_on(server, options), mark()) == [1]
        assert "prompts 2" in judge_on(server).name


def test_an_answer_that_the_limit_cut_is_no_mark() -> None:
    with OpenAIServer(lambda _: ["5"] * 30) as server:
        (value,) = ask(judge_on(server), mark())
        assert isinstance(value, Unscored)
        assert "token limit" in value.reason


def thinker(body: Json) -> Sequence[str]:
    """A model that thinks first, unless the request says that it shall not."""
    return (
        ["4"]
        if body.get("chat_template_kwargs") == {"enable_thinking": False}
        else ["<think>"] + ["well "] * 30
    )


def told(server: OpenAIServer) -> list[bool]:
    """Of each request, whether it says that the model shall not think."""
    return [
        body.get("chat_template_kwargs") == {"enable_thinking": False} for body in server.bodies
    ]


@pytest.mark.parametrize("shown", [True, False])
def test_a_model_that_thinks_until_its_limit_is_told_not_to(
    shown: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Qwen3 as it is served by default; `shown` False: a server that keeps back what is thought."""
    options = replace(OPTIONS, cache=tmp_path / "answers.sqlite3")
    with OpenAIServer(says("never")) as server:
        server.script = lambda _: (
            thinker(server.bodies[-1]) if shown or len(server.bodies) > 1 else [""] * 30
        )
        judge = judge_on(server, options)
        assert [ask(judge, mark(reply))[0] for reply in "ab"] == [3, 3]
        assert told(server) == [False, True, True]
        assert judge.usage.num_failed == 0
        assert "watcher thought until its limit of 16 tokens" in caplog.text
    with OpenAIServer(
        says("2")
    ) as server:  # a judge that may think is not served the answers of one that may not
        assert ask(judge_on(server, replace(options, max_tokens=4000)), mark("a")) == [1]


def test_answers_of_a_model_told_not_to_think_are_found_by_a_judge_that_starts_anew(
    tmp_path: Path,
) -> None:
    options = replace(OPTIONS, cache=tmp_path / "answers.sqlite3")
    with OpenAIServer(says("never")) as server:
        server.script = lambda _: thinker(server.bodies[-1])
        assert ask(judge_on(server, options), *(mark(reply) for reply in "abcdef")) == [3] * 6
        num_sent = len(server.bodies)
        again = judge_on(server, options)
        assert ask(again, *(mark(reply) for reply in "abcdef")) == [3] * 6
        assert (len(server.bodies), again.usage.num_kept) == (num_sent, 6)
        assert ask(again, mark("g")) == [3]  # control: what is new is asked
        assert len(server.bodies) > num_sent


def test_many_questions_at_once_are_told_so_once_each() -> None:
    with OpenAIServer(says("never")) as server:
        server.script = lambda _: thinker(server.bodies[-1])
        judge = judge_on(server)
        assert ask(judge, *(mark(reply) for reply in "abcdef")) == [3] * 6
        assert ask(judge, *(mark(reply) for reply in "ghi")) == [3] * 3
        assert told(server)[-3:] == [True] * 3


def test_one_long_thought_of_a_model_that_answers_is_no_reason() -> None:
    with OpenAIServer(says("4")) as server:
        judge = judge_on(server)
        assert ask(judge, mark("a")) == [3]
        server.script = lambda _: thinker(server.bodies[-1])
        (value,) = ask(judge, mark("b"))
        assert isinstance(value, Unscored)
        assert not any(told(server))


def test_a_server_that_knows_no_such_field_is_asked_without_it() -> None:
    with OpenAIServer(lambda _: ["<think>"] + ["well "] * 30, fields=COUNTED) as server:
        judge = judge_on(server)
        for reply in "ab":
            (value,) = ask(judge, mark(reply))
            assert isinstance(value, Unscored)
            assert "token limit" in value.reason
        assert told(server) == [False, True, False, False, False]


def test_a_question_that_is_refused_does_not_make_it_think_again() -> None:
    with OpenAIServer(says("never")) as server:
        server.script = lambda _: thinker(server.bodies[-1])
        judge = judge_on(server)
        assert ask(judge, mark("a")) == [3]
        server.faults.extend([Status(400), Status(400)])  # such as one that is too long
        (value,) = ask(judge, mark("b"))
        assert isinstance(value, Unscored)
        assert ask(judge, mark("c")) == [3]
        assert told(server)[-1]


def test_what_the_user_says_of_thinking_stands() -> None:
    mine = {"chat_template_kwargs": {"enable_thinking": True}}
    with OpenAIServer(says("never")) as server:
        server.script = lambda _: thinker(server.bodies[-1])
        (value,) = ask(judge_on(server, replace(OPTIONS, request_fields=mine)), mark())
        assert isinstance(value, Unscored)
        assert [body["chat_template_kwargs"] for body in server.bodies] == [
            {"enable_thinking": True}
        ] * 2


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_failure_that_passes_leaves_no_trace_and_one_that_stays_is_no_mark(fault: Fault) -> None:
    with OpenAIServer(says("4")) as server:
        server.faults.append(fault)
        assert ask(judge_on(server), mark()) == [3]
        assert len(server.bodies) == 2
        server.faults.extend([fault] * 4)
        judge = judge_on(server)
        values = [*ask(judge, mark("x")), *ask(judge, verdict())]
        assert all(isinstance(value, Unscored) and value.reason for value in values)
        assert (judge.usage.num_failed, judge.usage.num_asked) == (2, 2)


def test_a_server_that_hangs_runs_into_the_time_limit() -> None:
    with OpenAIServer(says("4")) as server:
        server.faults.extend([Hang(), Hang(after_head=True)])
        (value,) = ask(judge_on(server, replace(OPTIONS, timeout_s=0.2)), mark())
        assert isinstance(value, Unscored)
        assert "0.2 s" in value.reason


def test_the_key_is_never_shown() -> None:
    with OpenAIServer(says("4")) as server:
        server.faults.append(Status(401, message="wrong key {key}"))
        judge = judge_on(server)
        (value,) = ask(judge, mark())
        assert "OPENAI_API_KEY" in value.reason
        assert "secret" not in value.reason + judge.name + judge.usage.line()


def test_kept_answers_are_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, cache=tmp_path / "answers.sqlite3")
    with OpenAIServer(says("4"), models=None) as server:
        assert ask(judge_on(server, options), mark()) == [3]
        judge = judge_on(server, options)
        assert ask(judge, mark()) == [3]
        assert len(server.bodies) == 1
        assert judge.usage == JudgeUsage(num_asked=1, num_kept=1)
        ask(
            judge_on(server, options, max_score=2), mark()
        )  # the 3-level question: 4 is no answer, twice
        ask(judge_on(server, options), mark("Another."))
        ask(ServerJudge(server.url, "another", 4, options), mark())
        ask(judge_on(server, replace(options, request_fields={"seed": 1})), mark())
        assert len(server.bodies) == 6
        monkeypatch.setattr(server_judge, "PROMPT_VERSION", "other")
        ask(judge_on(server, options), mark())
        assert len(server.bodies) == 7


def test_failures_and_malformed_answers_are_not_kept(tmp_path: Path) -> None:
    options = replace(OPTIONS, cache=tmp_path / "answers.sqlite3")
    with OpenAIServer(says("maybe", "maybe", "2")) as server:
        server.faults.append(Status(404))
        for _ in range(2):
            assert isinstance(ask(judge_on(server, options), mark())[0], Unscored)
        assert ask(judge_on(server, options), mark()) == [1]
        assert len(server.bodies) == 4


def test_the_same_question_at_once_is_sent_once() -> None:
    with OpenAIServer(says("4")) as server:
        server.faults.append(Slow(0.05))
        judge = judge_on(server)
        assert ask(judge, mark(), mark(), mark(), mark("Another.")) == [3, 3, 3, 3]
        assert len(server.bodies) == 2
        assert (judge.usage.num_asked, judge.usage.num_kept) == (4, 2)


@pytest.mark.parametrize("bound", [1, 3])
def test_no_more_requests_are_on_the_way_than_allowed(bound: int) -> None:
    with OpenAIServer(says("4")) as server:
        server.faults.extend([Slow(0.05)] * 18)
        judge = judge_on(server, replace(OPTIONS, max_at_once=bound))
        for first in (0, 9):  # in one event loop after the other
            assert ask(judge, *(mark(str(first + number)) for number in range(9))) == [3] * 9
        assert server.most_open == bound
        assert len(server.bodies) == 18


def test_a_dead_judge_stops_the_work() -> None:
    options = replace(OPTIONS, max_at_once=4, failure_window=10)
    with OpenAIServer(says("4")) as server:
        judge = judge_on(server, options)
        assert ask(judge, *(mark(str(number)) for number in range(20))) == [3] * 20
        server.faults.extend([Status(500, message="out of memory")] * 1000)
        with pytest.raises(
            JudgeDownError, match=r"watcher is down: 3 of its last 10 .*out of memory"
        ):
            ask(judge, *(mark(f"more {number}") for number in range(100)))
        assert len(server.bodies) <= 20 + 2 * (3 + 4)  # those on the way, each tried twice
        server.faults.clear()
        with pytest.raises(JudgeDownError):  # for good
            ask(judge, mark("new"))
        assert ask(judge_on(server, options), mark("new")) == [3]
    assert issubclass(JudgeDownError, BackendError)  # exit code 1


def test_as_many_failures_as_allowed_do_not_stop_it() -> None:
    options = replace(OPTIONS, max_at_once=1, failure_window=10)
    with OpenAIServer(says("4")) as server:
        server.faults.extend(([Status(404)] * 2 + [None] * 8) * 3)
        judge = judge_on(server, options)
        values = ask(judge, *(mark(str(number)) for number in range(30)))
        assert sum(isinstance(value, Unscored) for value in values) == judge.usage.num_failed == 6
        assert values.count(3) == 24
        judge.check_alive()
        server.faults.append(Status(404))
        server.faults.extend([None] * 5)
        ask(judge, *(mark(f"more {number}") for number in range(6)))
        server.faults.extend([Status(404)] * 2)
        with pytest.raises(JudgeDownError):
            ask(judge, *(mark(f"then {number}") for number in range(2)))


def test_little_work_that_failed_altogether_is_told_at_its_end(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite3"
    with OpenAIServer(says("4")) as server:
        judge = judge_on(server, replace(OPTIONS, cache=cache))
        judge.check_alive()  # nothing was asked
        server.faults.extend([Status(404)] * 2)
        ask(judge, mark("a"), mark("b"))
        with pytest.raises(JudgeDownError, match=r"2 of its last 2 .*answers\.sqlite3"):
            judge.check_alive()
        judge = judge_on(server)
        server.faults.append(Status(404))
        ask(judge, mark("a"), mark("b"))
        judge.check_alive()


def test_little_work_that_mostly_failed_is_told_at_its_end() -> None:
    """Few enough for the newest 50 to allow it, too many of these to learn from."""
    with OpenAIServer(says("4")) as server:
        judge = judge_on(server)
        server.faults.extend([Status(404)] * 4)
        ask(judge, *(mark(str(number)) for number in range(20)))
        judge.check_alive()  # 4 of 20 are the share that is allowed
        server.faults.extend([Status(404)] * 4)
        ask(judge, *(mark(f"more {number}") for number in range(10)))
        with pytest.raises(JudgeDownError):
            judge.check_alive()


def test_tokens_and_waiting_are_counted() -> None:
    with OpenAIServer(says("maybe", "4")) as server:
        judge = judge_on(server)
        ask(judge, mark())
        words = [
            sum(len(message["content"].split()) for message in body["messages"])
            for body in server.bodies
        ]
        usage = judge.usage
        assert (usage.num_asked, usage.num_sent, usage.num_answers, usage.num_uncounted) == (
            1,
            1,
            2,
            0,
        )
        assert (usage.tokens_in, usage.tokens_out) == (sum(words), 2)
        assert 0 < usage.longest_s <= usage.waited_s
        both = usage + JudgeUsage(1, longest_s=usage.longest_s / 2)
        assert (both.num_asked, both.longest_s) == (2, usage.longest_s)


@pytest.mark.parametrize(
    ("fields", "num_refused", "taken"),
    [
        (COUNTED, 0, {"max_tokens", "temperature", "stream_options"}),
        (STANDARD_FIELDS, 1, {"max_tokens", "temperature"}),
        (
            COUNTED - {"max_tokens", "temperature"} | {"max_completion_tokens"},
            2,
            {"max_completion_tokens", "stream_options"},
        ),
        (
            frozenset({"model", "messages", "stream", "max_completion_tokens"}),
            3,
            {"max_completion_tokens"},
        ),
    ],
)
def test_the_request_takes_the_form_that_the_server_takes(
    fields: frozenset[str], num_refused: int, taken: set[str]
) -> None:
    with OpenAIServer(says("4"), fields=fields) as server:
        judge = judge_on(server)
        assert [ask(judge, mark(reply))[0] for reply in "ab"] == [3, 3]
        assert len(server.bodies) == 2 + num_refused  # learnt once
        assert set(server.bodies[-1]) == {"model", "messages", "stream", *taken}
        assert judge.usage.num_uncounted == (0 if "stream_options" in taken else 2)


def test_fields_of_the_user_go_into_every_request() -> None:
    more = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": None}
    with OpenAIServer(says("4")) as server:
        assert ask(judge_on(server, replace(OPTIONS, request_fields=more)), mark()) == [3]
        (body,) = server.bodies
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "temperature" not in body


def test_bad_options_are_refused(tmp_path: Path) -> None:
    for bad in (
        {"max_at_once": 0},
        {"timeout_s": 0.0},
        {"max_tokens": 1},
        {"max_failed_share": 1.5},
    ):
        with pytest.raises(ConfigError):
            replace(OPTIONS, **bad)
    with pytest.raises(ConfigError):
        replace(OPTIONS, failure_window=0)
    with pytest.raises(ConfigError, match="max_score"):
        ServerJudge("http://localhost", "watcher", 3)
    with pytest.raises(ConfigError, match="no address"):
        ServerJudge("localhost", "watcher")
    with pytest.raises(ConfigError, match="answers"):
        ServerJudge("http://localhost", "watcher", 4, replace(OPTIONS, cache=tmp_path))
