"""Questions from sentences: what comes of them, what is asked twice, what becomes of failures."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from question_model import model, writer_on

from oncue.data.chat_writer import WriterOptions
from oncue.data.choices import option_text
from oncue.data.curate.question_prompt import Outcome, Rejected, WrittenQuestion
from oncue.data.curate.question_writer import (
    QuestionWriter,
    deal,
    unanswered,
    write_all,
)
from oncue.errors import BackendError, ConfigError
from openai_server import STANDARD_FIELDS, Fault, Json, OpenAIServer, Status


def written(
    writer: QuestionWriter, *sentences: str, step: Callable[[], None] = lambda: None
) -> dict[str, Outcome]:
    return asyncio.run(write_all(writer, sentences, step))


def test_what_comes_of_sentences() -> None:
    steps: list[None] = []
    with OpenAIServer(model) as server:
        writer = writer_on(server)
        outcomes = written(
            writer,
            "A.",
            "An odd one.",
            "A short one.",
            "A very odd one.",
            step=lambda: steps.append(None),
        )
        assert len(server.bodies) == 6  # two were asked for once more
        assert server.most_open <= 4
        assert server.received[0].headers["authorization"] == "Bearer sk-secret"
    texts = tuple(f"A. {letter}" for letter in "ABCD")
    assert outcomes["A."] == WrittenQuestion("What, A.?", texts, 1)
    assert isinstance(outcomes["An odd one."], WrittenQuestion)
    kinds = [outcome.kind for outcome in outcomes.values() if isinstance(outcome, Rejected)]
    assert sorted(kinds) == ["malformed", "unsuitable"]
    assert len(steps) == 4
    assert (writer.usage.num_asked, writer.usage.num_failed) == (6, 0)
    assert writer.usage.tokens_out == 6


def test_no_answer_is_paid_for_twice(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite3"
    sentences = ("A.", "A.", "An odd one.", "A short one.", "A very odd one.")
    with OpenAIServer(model) as server:
        first = written(writer_on(server, cache=cache), *sentences)
        assert len(server.bodies) == 6
        again = writer_on(server, cache=cache)
        assert unanswered(again, [*sentences, "B."]) == ["B."]
        assert written(again, *sentences) == first
        assert len(server.bodies) == 6
        written(writer_on(server, cache=cache, request_fields={"seed": 1}), "A.")
        assert len(server.bodies) == 7  # another request, another answer


def test_a_run_that_failed_goes_on_where_it_was(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite3"
    sentences = [f"{number}." for number in range(6)]
    faults: list[Fault | None] = [None, None, None, *[Status(500)] * 2]
    with OpenAIServer(model) as server:
        server.faults.extend(faults)
        with pytest.raises(
            BackendError, match=r"1 of 6 sentences have no answer.*HTTP 500.*answers"
        ):
            written(writer_on(server, cache=cache, max_at_once=1), *sentences)
        assert len(server.bodies) == 7
        outcomes = written(writer_on(server, cache=cache), *sentences)
        assert len(server.bodies) == 8
    assert list(outcomes) == [*sentences[:3], *sentences[4:], "3."]


def test_a_server_that_is_down_is_not_asked_about_every_sentence() -> None:
    with OpenAIServer(model, refuse=lambda _: Status(500)) as server:
        with pytest.raises(BackendError, match="100 of 100 sentences have no answer"):
            written(writer_on(server), *(f"{number}." for number in range(100)))
        assert len(server.bodies) <= 2 * (20 + 4)


def test_a_sentence_that_the_server_refuses_is_rejected_unless_it_refuses_all() -> None:
    def refuse(body: Json) -> Status | None:
        return Status(400, message="not this") if "odd" in body["messages"][1]["content"] else None

    with OpenAIServer(model, refuse=refuse) as server:
        outcomes = written(writer_on(server), "A.", "An odd one.")
        refused = outcomes["An odd one."]
        assert isinstance(refused, Rejected)
        assert refused.kind == "refused"
        assert "not this" in refused.reason
        with pytest.raises(BackendError, match="not this"):
            written(writer_on(server), "An odd one.")


def test_a_server_that_takes_only_standard_fields() -> None:
    with OpenAIServer(model, fields=STANDARD_FIELDS) as server:
        assert isinstance(written(writer_on(server), "A.")["A."], WrittenQuestion)


def test_an_answer_that_is_cut_is_no_answer(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite3"
    with OpenAIServer(lambda _: ["{", "}", "!"]) as server:
        with pytest.raises(BackendError, match=r"limit of 2 tokens; raise --max-tokens"):
            written(writer_on(server, cache=cache, max_tokens=2), "A.")
        assert unanswered(writer_on(server, cache=cache), ["A."]) == ["A."]


@pytest.mark.parametrize("wrong", [{"max_at_once": 0}, {"timeout_s": 0.0}, {"max_tokens": 0}])
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs max_at_once >= 1"):
        WriterOptions(**wrong)


@pytest.mark.parametrize("num", [1, 4, 30])
def test_right_letters_are_balanced(num: int) -> None:
    questions = [
        WrittenQuestion("What?", tuple(f"{i} {letter}" for letter in "abcd"), i % 3)
        for i in range(num)
    ]
    dealt = deal(questions, seed=0)
    for question, (options, letter) in zip(questions, dealt, strict=True):
        texts = list(map(option_text, options))
        assert sorted(texts) == sorted(question.texts)
        assert texts["ABCD".index(letter)] == question.texts[question.right]
    counts = Counter(letter for _, letter in dealt)
    assert max(counts.values()) - min(counts.get(letter, 0) for letter in "ABCD") <= 1
    assert deal(questions, seed=0) == dealt
    if num == 30:
        assert deal(questions, seed=1) != dealt
        assert [letter for _, letter in dealt] != ["ABCD"[i % 4] for i in range(num)]
