"""A language model as the judge, on any server that speaks the OpenAI chat API.

Many questions are on the way at once, up to a bound; each is retried, and its answer is kept. An
answer that cannot be had is an Unscored; when too many cannot, the judge is down and says so by an
error, so that a run stops instead of learning from nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from oncue.chat_client import ChatClient, Message, RefusedError, Retries, base_url
from oncue.chat_stream import Completion
from oncue.errors import BackendError, ConfigError, JudgeDownError
from oncue.scoring.answer_cache import AnswerCache, answer_key
from oncue.scoring.judge_prompts import (
    PROMPT_VERSION,
    JudgeQuestion,
    coverage_question,
    repeats_question,
)
from oncue.scoring.score import Unscored
from oncue.thoughts import OPENING

T = TypeVar("T")

_log = logging.getLogger(__name__)
_FEW = 3  # failures that may be chance, however few questions there were
_COUNTED = {"stream_options": {"include_usage": True}}
# As vLLM and SGLang take it, for Qwen3 and others
_UNTHINKING = {"chat_template_kwargs": {"enable_thinking": False}}


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How a model on a server is asked to judge.

    `max_at_once`: requests on the way; `timeout_s` bounds each. `max_tokens` of an answer: a model
    that thinks first needs thousands; one that thinks until the limit at first is asked not to,
    unless `request_fields` have a `chat_template_kwargs`. `request_fields` go into every request as
    they are, a None leaves that field out. `cache`: a SQLite file for the answers, in memory
    without one. The judge is down when more than `max_failed_share` of `failure_window` answers
    failed among that many of the newest. Raises ConfigError for numbers out of range.
    """

    max_at_once: int = 16
    timeout_s: float = 60.0
    retries: Retries = field(default_factory=Retries)
    max_tokens: int = 16
    request_fields: Mapping[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    max_failed_share: float = 0.2
    failure_window: int = 50

    def __post_init__(self) -> None:
        # 2: a digit, and the end after it
        if self.max_at_once < 1 or not self.timeout_s > 0 or self.max_tokens < 2:
            raise ConfigError(
                "a judge needs max_at_once >= 1, timeout_s > 0 and max_tokens >= 2, got "
                f"{self.max_at_once}, {self.timeout_s} and {self.max_tokens}"
            )
        if not 0 <= self.max_failed_share <= 1 or self.failure_window < 1:
            raise ConfigError(
                "a judge needs max_failed_share from 0 to 1 and failure_window >= 1, got "
                f"{self.max_failed_share} and {self.failure_window}"
            )


@dataclass(frozen=True, slots=True)
class JudgeUsage:
    """What judging took so far.

    `num_asked` questions, of which `num_kept` had a kept answer and `num_failed` none. Of the
    `num_answers` that the server gave (malformed ones too), it counted the tokens but for
    `num_uncounted`. `waited_s` is the time all questions to the server took together, retries
    included, `longest_s` that of the slowest.
    """

    num_asked: int = 0
    num_kept: int = 0
    num_failed: int = 0
    num_answers: int = 0
    num_uncounted: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    waited_s: float = 0.0
    longest_s: float = 0.0

    def __add__(self, other: JudgeUsage) -> JudgeUsage:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return JudgeUsage(**{**sums, "longest_s": max(self.longest_s, other.longest_s)})

    @property
    def num_sent(self) -> int:
        """Questions that went to the server."""
        return self.num_asked - self.num_kept

    def line(self) -> str:
        """All of it in one line for people."""
        mean_s = self.waited_s / self.num_sent if self.num_sent else 0.0
        uncounted = f" ({self.num_uncounted} answers not counted)" if self.num_uncounted else ""
        return (
            f"{self.num_asked} questions, {self.num_kept} with a kept answer, {self.num_failed} "
            "failed; "
            f"{self.tokens_in} tokens in, {self.tokens_out} out{uncounted}; {mean_s:.2f} s per "
            "question sent, "
            f"{self.longest_s:.2f} s the slowest"
        )


class ServerJudge:
    """The judge `model` on the server at `url` (with or without its /v1). `usage` says what it has
    cost.

    `api_key` defaults to the variable OPENAI_API_KEY. Usable from one event loop after the other,
    never from two at once. Once it is down, it stays down: every question without a kept answer
    raises JudgeDownError. Raises ConfigError for a `max_score` other than 2 or 4, an address that
    cannot be one, or a cache that cannot be written.
    """

    def __init__(
        self,
        url: str,
        model: str,
        max_score: int = 4,
        options: JudgeOptions | None = None,
        *,
        api_key: str | None = None,
    ) -> None:
        coverage_question("", "", (), max_score)
        self.model, self.max_score, self.options = model, max_score, options or JudgeOptions()
        self.usage = self._checked = JudgeUsage()
        key = os.environ.get("OPENAI_API_KEY", "") if api_key is None else api_key
        self._client = ChatClient(
            base_url(url), key, self.options.timeout_s, self.options.retries, logging.INFO
        )
        self._answers = AnswerCache(self.options.cache)
        self._budget = _Budget(model, self.options)
        self._forms = request_forms(self.options.max_tokens)
        self._added: Mapping[str, Any] = {}  # _UNTHINKING once it was found to need that
        self._may_add = not _UNTHINKING.keys() & self.options.request_fields.keys()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(self.options.max_at_once)

    @property
    def name(self) -> str:
        return f"{self.model} (prompts {PROMPT_VERSION})"

    async def coverage(
        self, question: str, gold: str, replies_so_far: Sequence[str]
    ) -> int | Unscored:
        """As the role says. Raises JudgeDownError as `ask`."""
        return await self.ask(coverage_question(question, gold, replies_so_far, self.max_score))

    async def repeats(self, previous: Sequence[str], new: str) -> bool | Unscored:
        """As the role says, without a question where nothing was said before. Raises JudgeDownError
        as `ask`."""
        if not previous:
            return False
        return await self.ask(repeats_question(previous, new))

    def check_alive(self) -> None:
        """For the end of some work: raises JudgeDownError when too many answers failed, among the
        newest or among those since the last call, which may be fewer."""
        before, self._checked = self._checked, self.usage
        num_failed, num_asked = (
            self.usage.num_failed - before.num_failed,
            self.usage.num_asked - before.num_asked,
        )
        too_many = num_failed > _FEW and num_failed > self.options.max_failed_share * num_asked
        if too_many or (num_failed and num_failed == num_asked):
            self._budget.give_up()
        self._budget.check()

    async def aclose(self) -> None:
        """Close the connections. The next question opens new ones."""
        await self._client.aclose()

    async def ask(self, question: JudgeQuestion[T]) -> T | Unscored:
        """The kept answer, or the server's. Who asks the same while it is on the way waits for
        it. Raises JudgeDownError when too many answers failed."""
        self._count(num_asked=1)
        async with self._locks.setdefault(self._key(question, added={}), asyncio.Lock()):
            value = self._kept(question)
            if not isinstance(value, Unscored):
                self._count(num_kept=1)
                return value
            async with self._slots_of_loop():
                self._budget.check()
                value = await self._answer_of_server(question)
        if isinstance(value, Unscored):
            self._count(num_failed=1)
        self._budget.note(value)
        self._budget.check()
        return value

    def _kept(self, question: JudgeQuestion[T]) -> T | Unscored:
        """The kept answer to the question as it is, or to the one that was asked not to think: a
        judge that was just started has yet to find out that it must be."""
        for added in ({}, _UNTHINKING):
            kept = self._answers.get(self._key(question, added))
            if kept is not None and not isinstance(value := question.read(kept), Unscored):
                return value
        return Unscored("never asked")

    def _key(self, question: JudgeQuestion[T], added: Mapping[str, Any]) -> str:
        """Under which an answer is kept. Where the model was asked not to think, the limit that it
        thought until belongs to it: under a higher one it may think, and is asked again."""
        fields = {**added, "max_tokens": self.options.max_tokens} if added else {}
        return answer_key(
            PROMPT_VERSION,
            self.model,
            {**fields, **self.options.request_fields},
            question.rules,
            question.texts,
        )

    async def _answer_of_server(self, question: JudgeQuestion[T]) -> T | Unscored:
        """What the model says, asked a second time where it did not keep to the form, or thought
        until its limit."""
        started = time.perf_counter()
        value: T | Unscored = Unscored("not asked")
        try:
            for reminded in (False, True):
                done, added = await self._complete(question.messages(reminded=reminded))
                value = _read(question, done)
                if not isinstance(value, Unscored):
                    self._answers.put(
                        self._key(question, added),
                        self.model,
                        PROMPT_VERSION,
                        question.texts,
                        done.text,
                    )
                    self._may_add = (
                        False  # it can answer as it is asked: a single long thought is no reason
                    )
                    break
                if _is_thinking(done) and self._may_add:
                    self._may_add, self._added = False, _UNTHINKING
                    _log.warning(
                        "the judge %s thought until its limit of %d tokens and is asked not to "
                        "think; to let it think, raise the limit",
                        self.model,
                        self.options.max_tokens,
                    )
        except BackendError as error:
            value = Unscored(str(error))
        waited_s = time.perf_counter() - started
        self._count(waited_s=waited_s, longest_s=waited_s)
        return value

    async def _complete(self, messages: Sequence[Message]) -> tuple[Completion, Mapping[str, Any]]:
        """An answer, by the first form of request that the server takes (it is then the only one),
        and what the model was asked about thinking."""
        refused: list[RefusedError] = []
        additions = (self._added, {}) if self._added else ({},)
        for added, form in itertools.product(additions, self._forms):
            extra = {**form, **added, **self.options.request_fields}
            try:
                done = await self._client.complete(
                    self.model, messages, self.options.max_tokens, extra
                )
            except RefusedError as error:
                refused.append(error)
                continue
            self._forms = (form,)
            if added != additions[0]:  # the server takes the request, but not with this field
                self._added = {}
            counted = done.tokens or (0, 0)
            self._count(
                num_answers=1,
                num_uncounted=done.tokens is None,
                tokens_in=counted[0],
                tokens_out=counted[1],
            )
            return done, added
        raise refused[0]

    def _slots_of_loop(self) -> asyncio.Semaphore:
        """The slots of the running event loop: those of another cannot be waited for."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._slots = loop, asyncio.Semaphore(self.options.max_at_once)
        return self._slots

    def _count(self, **more: float) -> None:
        self.usage += JudgeUsage(**more)  # type: ignore[arg-type]


class _Budget:
    """Whether too many of the newest answers of `model` failed; once they did, it stays so."""

    def __init__(self, model: str, options: JudgeOptions) -> None:
        self._model, self._options = model, options
        self._failed: deque[bool] = deque(maxlen=options.failure_window)
        self._last_reason = self._down = ""

    def note(self, value: object) -> None:
        """Counts an answer."""
        self._failed.append(isinstance(value, Unscored))
        if isinstance(value, Unscored):
            self._last_reason = value.reason
        if sum(self._failed) > self._options.max_failed_share * self._options.failure_window:
            self.give_up()

    def give_up(self) -> None:
        """From now on the judge is down."""
        num_failed, num = sum(self._failed), len(self._failed)
        self._down = (
            self._down
            or f"{num_failed} of its last {num} answers failed, the last one: {self._last_reason}"
        )

    def check(self) -> None:
        """Raises JudgeDownError when too many have failed."""
        if not self._down:
            return
        cache = self._options.cache
        kept = f"; its answers so far are kept in {cache}" if cache is not None else ""
        raise JudgeDownError(
            f"the judge {self._model} is down: {self._down}. Fix it and start again{kept}"
        )


def request_forms(max_tokens: int) -> tuple[Mapping[str, Any], ...]:
    """Fields of a request beside the standard ones, in the order to try: with token counts and
    without; then the same for models that take no temperature and call the limit by its newer
    name."""
    newer = {"max_tokens": None, "temperature": None, "max_completion_tokens": max_tokens}
    return _COUNTED, {}, _COUNTED | newer, newer


def _is_thinking(done: Completion) -> bool:
    """Whether the limit came before the answer: servers write what a model thinks first, or keep it
    back."""
    return done.at_limit and (not done.text.strip() or done.text.lstrip().startswith(OPENING))


def _read(question: JudgeQuestion[T], done: Completion) -> T | Unscored:
    if done.at_limit:
        return Unscored(
            "the judge had not finished at its token limit, having said "
            f"{done.text.strip()!r:.80}; raise the limit "
            "for a model that thinks first, or turn its thinking off"
        )
    return question.read(done.text)
