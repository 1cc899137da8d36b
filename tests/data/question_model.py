"""A model that writes questions as it is asked to, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from oncue.chat_client import Retries
from oncue.data.chat_writer import WriterOptions
from oncue.data.curate.question_writer import QuestionWriter
from openai_server import Json, OpenAIServer

FAST = Retries(max_retries=1, first_wait_s=0.001, longest_wait_s=0.002)


def asked_about(messages: Sequence[Json]) -> str:
    return str(json.loads(messages[1]["content"].removeprefix("sentence: ")))


def question_about(sentence: str, answer: str = "B") -> str:
    options = [f"{letter}. {sentence} {letter}" for letter in "ABCD"]
    return json.dumps(
        {"suitable": True, "question": f"What, {sentence}?", "options": options, "answer": answer}
    )


def model(messages: Sequence[Json]) -> list[str]:
    """Writes a question; finds sentences with "short" not suitable, and for sentences with "odd"
    answers badly: once, or with "very odd" always."""
    sentence = asked_about(messages)
    if "short" in sentence:
        return ['{"suitable": false}']
    if "very odd" in sentence or ("odd" in sentence and len(messages) == 2):
        return ["What?"]
    return [question_about(sentence)]


def writer_on(server: OpenAIServer, **more: Any) -> QuestionWriter:
    options = WriterOptions(**{"retries": FAST, "max_at_once": 4, **more})
    return QuestionWriter(server.url, "watcher", options, api_key="sk-secret")
