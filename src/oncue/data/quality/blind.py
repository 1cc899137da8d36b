"""Questions that a model answers without the video: they teach it to guess.

The model is asked the question alone, several times. An attempt is right where a judge gives it, on
the mean over the gold replies to the question, half of the full mark or more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncue.chat_client import ChatClient, Message, RefusedError, Retries, base_url
from oncue.data.proactive_rows import ProactiveRow
from oncue.errors import BackendError, ConfigError
from oncue.scoring.answer_cache import AnswerCache, answer_key
from oncue.scoring.judge import Judge
from oncue.scoring.score import Unscored
from oncue.scoring.server_judge import JudgeUsage, request_forms
from oncue.thoughts import behind_thoughts
from oncue.types import GoldTurn, Question

PROMPT_VERSION = "blind-1"
_RULES = (
    "You get a question about a video that you cannot see. Say in one or two sentences what the "
    "answer most probably is. Always give an answer, and do not mention that you guess."
)


@dataclass(frozen=True, slots=True)
class BlindOptions:
    """How a model is asked without the video: `samples` attempts at `temperature`, `max_at_once`
    requests on the way. `cache`: a SQLite file for the answers, in memory without one. Raises
    ConfigError for numbers out of range."""

    samples: int = 3
    temperature: float = 1.0
    max_at_once: int = 16
    timeout_s: float = 60.0
    max_tokens: int = 1024
    cache: Path | None = None
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        smallest = min(self.samples, self.max_at_once, self.max_tokens)
        if smallest < 1 or self.temperature < 0 or not self.timeout_s > 0:
            raise ConfigError(
                "blind questions need samples, max_at_once and max_tokens of 1 or more, "
                f"temperature >= 0 and timeout_s > 0, got {self}"
            )


class BlindModel:
    """The model `model` on the server at `url` (with or without its /v1), for one event loop.
    `usage` says what it has cost. `api_key` defaults to the variable OPENAI_API_KEY."""

    def __init__(
        self, url: str, model: str, options: BlindOptions, *, api_key: str | None = None
    ) -> None:
        self.model, self.options, self.usage = model, options, JudgeUsage()
        key = os.environ.get("OPENAI_API_KEY", "") if api_key is None else api_key
        self._client = ChatClient(base_url(url), key, options.timeout_s, options.retries)
        self._answers = AnswerCache(options.cache)
        self._forms = request_forms(options.max_tokens)
        self._slots = asyncio.Semaphore(options.max_at_once)

    async def attempts(self, question: str) -> list[str]:
        """What it says to `question` in each attempt; "" where it ends within a thought. Raises
        BackendError where the server gives no answer."""
        numbers = range(self.options.samples)
        return await asyncio.gather(*(self._answer(question, number) for number in numbers))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _answer(self, question: str, number: int) -> str:
        messages: list[Message] = [
            {"role": "system", "content": _RULES},
            {"role": "user", "content": question},
        ]
        options = self.options
        key = answer_key(PROMPT_VERSION, self.model, options.temperature, number, messages)
        kept = self._answers.get(key)
        self.usage += JudgeUsage(num_asked=1, num_kept=kept is not None)
        if kept is None:
            async with self._slots:
                kept = await self._complete(messages)
            self._answers.put(key, self.model, PROMPT_VERSION, question, kept)
        return (behind_thoughts(kept) or "").strip()

    async def _complete(self, messages: Sequence[Message]) -> str:
        """An answer, by the first form of request that the server takes."""
        refused: list[RefusedError] = []
        for form in self._forms:
            extra: dict[str, Any] = {"temperature": self.options.temperature, **form}
            try:
                done = await self._client.complete(
                    self.model, messages, self.options.max_tokens, extra
                )
            except RefusedError as error:
                refused.append(error)
                continue
            self._forms = (form,)
            tokens_in, tokens_out = done.tokens or (0, 0)
            uncounted = done.tokens is None
            self.usage += JudgeUsage(
                num_answers=1,
                num_uncounted=uncounted,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
            )
            return done.text
        raise refused[0]


async def answerable(row: ProactiveRow, model: BlindModel, judge: Judge) -> str:
    """The first question of `row` that the model answers in half of its attempts or more, in words;
    "" for none. Raises BackendError where a server gives no answer, or none that can be used."""
    asked = [(n, q, _gold_of(row, q)) for n, q in enumerate(row.task.questions, 1)]
    for number, question, gold in asked:
        if not gold:
            continue
        said = await model.attempts(question.text)
        right = [await _is_right(question.text, gold, answer, judge) for answer in said]
        if 2 * sum(right) >= len(right):
            return (
                f"question {number}: a model without the video is right in {sum(right)} of "
                f"{len(right)} attempts"
            )
    return ""


def _gold_of(row: ProactiveRow, question: Question) -> list[GoldTurn]:
    return [gold for gold in row.task.gold if gold.question in ("", question.text)]


async def _is_right(question: str, gold: Sequence[GoldTurn], answer: str, judge: Judge) -> bool:
    if not answer:
        return False
    marks = await asyncio.gather(
        *(judge.coverage(question, each.content, (answer,)) for each in gold)
    )
    if failed := next((mark for mark in marks if isinstance(mark, Unscored)), None):
        raise BackendError(
            f"the judge {judge.name} gave an attempt at {question!r:.60} no mark "
            f"({failed.reason}); start again when that is corrected, answers so far are kept"
        )
    given = sum(mark for mark in marks if not isinstance(mark, Unscored))
    return 2 * given >= judge.max_score * len(marks)
