"""Dialogues with a scripted chat server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from oncue.policy.chat_server import ChatServer
from oncue.types import EnvTurn, PolicyTurn
from openai_server import Json, Script
from tiny_model import random_turn

SILENT = ("NO", " REPLY")
SPOKEN = ("A", " man", " comes", " in", ".")


def scripted(*answers: Sequence[str]) -> Script:
    """A model that gives the k-th of `answers` to the k-th turn of a dialogue, and is silent after
    the last."""

    def answer(messages: Sequence[Json]) -> Sequence[str]:
        turn = sum(message["role"] == "user" for message in messages) - 1
        return answers[turn] if turn < len(answers) else SILENT

    return answer


def turns(num_turns: int, question: str = "What happens?") -> list[EnvTurn]:
    random = np.random.default_rng(0)
    return [random_turn(random, k + 1.0, text="" if k else question) for k in range(num_turns)]


def talk(
    server: ChatServer, shown: Sequence[EnvTurn], probabilities: list[float | None] | None = None
) -> list[PolicyTurn]:
    """The answers of one session to `shown`."""

    async def hold() -> list[PolicyTurn]:
        session = server.open()
        answers = []
        for turn in shown:
            answers.append(await session.respond(turn))
            if probabilities is not None:
                probabilities.append(session.silence_probability)
        await server.aclose()
        return answers

    return asyncio.run(hold())
