"""Questions from sentences, written by a model on a server that speaks the OpenAI chat API.

Every answer is kept under all that it depends on, so none is paid for twice, whether a question
came of it or not; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oncue.chat_client import ChatClient, Message, RefusedError, Retries, base_url
from oncue.chat_stream import Completion
from oncue.data.choices import labelled, letters_of
from oncue.data.curate.question_prompt import (
    NUM_OPTIONS,
    PROMPT_VERSION,
    Outcome,
    Rejected,
    WrittenQuestion,
    conversation,
)
from oncue.errors import BackendError, ConfigError
from oncue.scoring.answer_cache import AnswerCache, answer_key
from oncue.scoring.server_judge import JudgeUsage, request_forms

_TOO_MANY = 20  # failures in a row: the server is down, or does not take these requests


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How the model is asked. `max_at_once`: requests on the way; `timeout_s` bounds each.
    `max_tokens` of an answer, thoughts included. `request_fields` go into every request as they
    are, a None leaves that field out. `cache`: a SQLite file for the answers, in memory without
    one. Raises ConfigError for numbers out of range."""

    max_at_once: int = 16
    timeout_s: float = 120.0
    max_tokens: int = 1024
    request_fields: Mapping[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        if self.max_at_once < 1 or not self.timeout_s > 0 or self.max_tokens < 1:
            raise ConfigError(
                "writing questions needs max_at_once >= 1, timeout_s > 0 and max_tokens >= 1, got "
                f"{self.max_at_once}, {self.timeout_s} and {self.max_tokens}"
            )


class QuestionWriter:
    """The model `model` on the server at `url` (with or without its /v1). `usage` says what it has
    cost: questions are requests there. `api_key` defaults to the variable OPENAI_API_KEY."""

    def __init__(
        self, url: str, model: str, options: WriterOptions, *, api_key: str | None = None
    ) -> None:
        self.model, self.options, self.usage = model, options, JudgeUsage()
        key = os.environ.get("OPENAI_API_KEY", "") if api_key is None else api_key
        self._client = ChatClient(
            base_url(url), key, options.timeout_s, options.retries, logging.INFO
        )
        self._answers = AnswerCache(options.cache)
        self._forms = request_forms(options.max_tokens)

    def kept(self, sentence: str) -> Outcome | None:
        """What came of `sentence` by the answers that are kept; None where one must be asked
        for."""
        asking = conversation(sentence)
        messages = next(asking)
        while (answer := self._answers.get(self._key(messages))) is not None:
            try:
                messages = asking.send(answer)
            except StopIteration as end:
                return end.value
        return None

    async def write(self, sentence: str) -> Outcome:
        """What comes of `sentence`. Raises BackendError where the server gives no answer, or none
        that is finished."""
        asking = conversation(sentence)
        messages = next(asking)
        while True:
            answer = await self._answer(messages, sentence)
            try:
                messages = asking.send(answer)
            except StopIteration as end:
                return end.value

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _answer(self, messages: Sequence[Message], sentence: str) -> str:
        key = self._key(messages)
        kept = self._answers.get(key)
        self.usage += JudgeUsage(num_asked=1, num_kept=kept is not None)
        if kept is not None:
            return kept
        try:
            done = await self._complete(messages)
            if done.at_limit:
                raise BackendError(
                    f"the model {self.model} had not finished at its limit of "
                    f"{self.options.max_tokens} tokens; raise --max-tokens, or turn its thinking "
                    "off with --request-fields"
                )
        except BackendError:
            self.usage += JudgeUsage(num_failed=1)
            raise
        self._answers.put(key, self.model, PROMPT_VERSION, sentence, done.text)
        return done.text

    async def _complete(self, messages: Sequence[Message]) -> Completion:
        """An answer, by the first form of request that the server takes."""
        refused: list[RefusedError] = []
        started = asyncio.get_running_loop().time()
        for form in self._forms:
            extra = {**form, **self.options.request_fields}
            try:
                done = await self._client.complete(
                    self.model, messages, self.options.max_tokens, extra
                )
            except RefusedError as error:
                refused.append(error)
                continue
            self._forms = (form,)
            tokens, waited_s = done.tokens or (0, 0), asyncio.get_running_loop().time() - started
            self.usage += JudgeUsage(
                num_answers=1,
                num_uncounted=done.tokens is None,
                tokens_in=tokens[0],
                tokens_out=tokens[1],
                waited_s=waited_s,
                longest_s=waited_s,
            )
            return done
        raise refused[0]

    def _key(self, messages: Sequence[Message]) -> str:
        fields = dict(self.options.request_fields)
        return answer_key(PROMPT_VERSION, self.model, fields, list(messages))


def unanswered(writer: QuestionWriter, sentences: Sequence[str]) -> list[str]:
    """The different sentences that kept answers say nothing of."""
    return [s for s in dict.fromkeys(sentences) if writer.kept(s) is None]


async def write_all(
    writer: QuestionWriter, sentences: Sequence[str], step: Callable[[], None]
) -> dict[str, Outcome]:
    """What comes of each different sentence. `step()` is called after each that was asked about.

    Raises BackendError where some have no answer: those that were given are kept, so that the next
    run asks for the rest alone.
    """
    outcomes = {s: kept for s in sentences if (kept := writer.kept(s)) is not None}
    waiting = deque(s for s in dict.fromkeys(sentences) if s not in outcomes)
    refused: dict[str, RefusedError] = {}
    failures: list[BackendError] = []
    num_in_a_row = 0

    async def work() -> None:
        nonlocal num_in_a_row
        while waiting and num_in_a_row < _TOO_MANY:
            sentence = waiting.popleft()
            try:
                outcomes[sentence] = await writer.write(sentence)
                num_in_a_row = -1
            except RefusedError as error:
                refused[sentence] = error
            except BackendError as error:
                failures.append(error)
            num_in_a_row += 1
            step()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(writer.options.max_at_once, len(waiting))):
                group.create_task(work())
    finally:
        await writer.aclose()
    if refused and (waiting or not writer.usage.num_answers):
        failures += refused.values()
    if failures:
        num_left, cache = len(failures) + len(waiting), writer.options.cache
        where = f": answers so far are kept in {cache}" if cache is not None else ""
        raise BackendError(
            f"{num_left:,} of {len(set(sentences)):,} sentences have no answer, one of them since "
            f"{failures[0]}. Start again when that is corrected{where}"
        )
    return outcomes | {s: Rejected("refused", str(error)) for s, error in refused.items()}


def deal(questions: Sequence[WrittenQuestion], seed: int) -> list[tuple[tuple[str, ...], str]]:
    """Options and right letter of each question, in a new order of options drawn by `seed`: of four
    questions in a row each letter is right once, and a model that likes one letter gains nothing.
    """
    rng = np.random.default_rng(seed)
    places: list[int] = []
    while len(places) < len(questions):
        places += rng.permutation(NUM_OPTIONS).tolist()
    dealt = []
    for question, place in zip(questions, places, strict=False):
        wrong = [text for i, text in enumerate(question.texts) if i != question.right]
        texts = [wrong[i] for i in rng.permutation(len(wrong))]
        texts.insert(place, question.texts[question.right])
        options = labelled(texts)
        dealt.append((options, letters_of(options)[place]))
    return dealt
