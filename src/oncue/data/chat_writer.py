"""A model on a server that writes something, such as captions or questions: asked within limits,
each answer kept, so that none is paid for twice."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncue.chat_client import ChatClient, Message, RefusedError, Retries, base_url
from oncue.chat_stream import Completion
from oncue.data.request_limits import Spending, WindowLimit
from oncue.errors import BackendError, ConfigError
from oncue.scoring.answer_cache import AnswerCache, AnswerCounts, answer_key
from oncue.scoring.server_judge import JudgeUsage, request_forms

TOO_MANY_FAILURES = 20  # in a row: the server is down, or does not take these requests
_CHARACTERS_PER_TOKEN = 3  # for estimates: more often four
_TOKENS_PER_IMAGE = 1000  # for estimates: of servers that say nothing, and before an answer


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How the model is asked. `max_at_once`: requests on the way; `timeout_s` bounds each.
    `max_tokens` of an answer, thoughts included. `request_fields` go into every request as they
    are, a None leaves that field out. `cache`: a SQLite file for the answers, in memory without
    one. `requests_per_minute`, `tokens_per_minute`: at most so many in any 60 s. Raises
    ConfigError for numbers out of range."""

    max_at_once: int = 16
    timeout_s: float = 120.0
    max_tokens: int = 1024
    request_fields: Mapping[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    retries: Retries = field(default_factory=Retries)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def __post_init__(self) -> None:
        if self.max_at_once < 1 or not self.timeout_s > 0 or self.max_tokens < 1:
            raise ConfigError(
                "writing questions needs max_at_once >= 1, timeout_s > 0 and max_tokens >= 1, got "
                f"{self.max_at_once}, {self.timeout_s} and {self.max_tokens}"
            )


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the model said, and what was counted of it. `is_kept`: it was said before."""

    text: str
    counts: AnswerCounts
    is_kept: bool


class ChatWriter:
    """The model `model` on the server at `url` (with or without its /v1). `usage` says what it has
    cost: `num_asked` are requests there. `api_key` defaults to the variable OPENAI_API_KEY.
    `spending` may be shared by several. `keep_cut` also keeps answers that the token limit ended.
    `client` takes the place of that of the server.

    Usable in one event loop where `options` set limits, else in one after the other.
    """

    def __init__(
        self,
        url: str,
        model: str,
        options: WriterOptions,
        *,
        api_key: str | None = None,
        spending: Spending | None = None,
        keep_cut: bool = False,
        client: ChatClient | None = None,
    ) -> None:
        self.model, self.options, self.usage = model, options, JudgeUsage()
        self.spending = spending or Spending()
        key = os.environ.get("OPENAI_API_KEY", "") if api_key is None else api_key
        self.url, self.api_key = base_url(url), key
        self._requests = WindowLimit(options.requests_per_minute)
        self._tokens = WindowLimit(options.tokens_per_minute)
        self._client = client or ChatClient(
            self.url, key, options.timeout_s, options.retries, logging.INFO, self._admitted
        )
        self._answers = AnswerCache(options.cache)
        self._forms = request_forms(options.max_tokens)
        self._keep_cut = keep_cut
        self._slots = asyncio.Semaphore(options.max_at_once)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def kept(self, messages: Sequence[Message], prompt_version: str) -> ChatAnswer | None:
        """The answer that is kept; None where the server must be asked."""
        return self._kept(self._key(messages, prompt_version))

    async def answer(
        self, messages: Sequence[Message], prompt_version: str, about: str
    ) -> ChatAnswer:
        """The kept answer, or the server's. `about` is kept beside it, for people.

        Raises BudgetSpentError before a request that `spending` does not allow, and as `ChatClient`
        where the server gives no answer.
        """
        key = self._key(messages, prompt_version)
        async with self._locks.setdefault(key, asyncio.Lock()):
            kept = self._kept(key)
            if kept is not None:
                self.usage += JudgeUsage(num_asked=1, num_kept=1)
                return kept
            async with self._slots:
                self.usage += JudgeUsage(num_asked=1)
                done, counts = await self._asked(messages)
        if not counts.at_limit or self._keep_cut:
            kept_key = self._cut_key(key) if counts.at_limit else key
            self._answers.put(kept_key, self.model, prompt_version, about, done.text, counts)
        return ChatAnswer(done.text, counts, False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def close(self) -> None:
        """Close the file of answers."""
        self._answers.close()

    def _kept(self, key: str) -> ChatAnswer | None:
        for tried in (key, self._cut_key(key)) if self._keep_cut else (key,):
            text = self._answers.get(tried)
            if text is not None:
                counts = self._answers.counts(tried)
                return ChatAnswer(text, counts or AnswerCounts(0, 0, is_counted=False), True)
        return None

    async def _asked(self, messages: Sequence[Message]) -> tuple[Completion, AnswerCounts]:
        read, most = estimated_tokens(messages), self.options.max_tokens
        aside = await self.spending.set_aside(self.model, read, most)
        try:
            admission = await self._tokens.admit(read + most)
            done = await self._complete(messages)
        except BackendError:
            self.usage += JudgeUsage(num_failed=1)
            raise
        finally:
            self.spending.give_back(aside)
        tokens_in, tokens_out = done.tokens or (read, _tokens_of(done.text + done.thought))
        self._tokens.settle(admission, tokens_in + tokens_out)
        self.spending.note(self.model, tokens_in, tokens_out)
        return done, AnswerCounts(
            tokens_in, tokens_out, done.at_limit, is_counted=done.tokens is not None
        )

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

    async def _admitted(self) -> None:
        await self._requests.admit()

    def _key(self, messages: Sequence[Message], prompt_version: str) -> str:
        fields = dict(self.options.request_fields)
        return answer_key(prompt_version, self.model, fields, list(messages))

    def _cut_key(self, key: str) -> str:
        """Under which an answer is kept that the limit ended: a higher one may not."""
        return answer_key(key, self.options.max_tokens)


def estimated_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens a model reads; rather too many."""
    parts = [
        part
        for message in messages
        for part in (
            message["content"]
            if isinstance(message["content"], list)
            else [{"type": "text", "text": message["content"]}]
        )
    ]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    num_images = len(parts) - len(texts)
    return num_images * _TOKENS_PER_IMAGE + sum(map(_tokens_of, texts)) + len(messages)


def _tokens_of(text: str) -> int:
    """Rather too many, but for scripts that take a token a character or more."""
    is_wide = len(text.encode()) > 2 * len(text)
    return len(text) if is_wide else -(-len(text) // _CHARACTERS_PER_TOKEN)
