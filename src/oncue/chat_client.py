"""One request to an OpenAI-compatible chat server, sent until it is answered: retries, time limits, errors of ours.

The client library's own retries are off: they cannot repeat an answer that breaks off in the middle, and one rule for
all failures is easier to know. Every request is a stream, so that there is one way to read an answer and a cut is seen.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from oncue.errors import BackendError, ConfigError, shown_address

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk

T = TypeVar("T")
Message = dict[str, Any]  # one message of the chat API

_log = logging.getLogger(__name__)
_MAY_PASS = frozenset((0, 408, 409, 429))  # and everything from 500
_REFUSED = frozenset((400, 422))  # how servers answer a request with a field they do not take
_KEY_ADVICE = "give its key in OPENAI_API_KEY"
_ADVICE = {401: _KEY_ADVICE, 403: _KEY_ADVICE, 404: "check its address, which mostly ends in /v1, and the model's name"}
_SHOWN_CHARACTERS = 300  # of what a server says: some send the request back


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after which wait, a request is sent again that failed in a way that may pass.

    The wait doubles from `first_wait_s` up to `longest_wait_s`, and a random half of it is left out, so that many
    sessions do not come back at once. Where the server says when to come back, that is the wait; a server that wants
    more than `longest_asked_s` is not waited for. Raises ConfigError for numbers out of range.
    """

    max_retries: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    longest_asked_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_retries < 0 or not 0 <= self.first_wait_s <= self.longest_wait_s:
            raise ConfigError(
                "retries need max_retries >= 0 and 0 <= first_wait_s <= longest_wait_s, got "
                f"{self.max_retries}, {self.first_wait_s} and {self.longest_wait_s}"
            )

    def wait_s(self, num_failed: int, asked_s: float | None, share: float) -> float | None:
        """Seconds to wait after `num_failed` (>= 1) failures, the last of which asked for `asked_s`; None: give up.

        `share` in [0, 1] is the random part of the half that may be left out.
        """
        if num_failed > self.max_retries or (asked_s is not None and asked_s > self.longest_asked_s):
            return None
        if asked_s is not None:
            return max(asked_s, 0.0)
        return min(self.first_wait_s * 2.0 ** min(num_failed - 1, 64), self.longest_wait_s) * (1 - share / 2)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server wrote. `at_limit`: the token limit ended it.

    `first_probs`: the probabilities of the candidates for the first token that the server listed, by their text, the
    one written among them; None where it listed none. `tokens`: how many it read and wrote, None where it did not say.
    """

    text: str
    at_limit: bool
    first_probs: Mapping[str, float] | None = None
    tokens: tuple[int, int] | None = None


class RefusedError(BackendError):
    """The server took the request for a wrong one; it may have held a field that the server does not know."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a request failed, in words; its HTTP status, 0 where it got none; when to come back, if the server said."""

    reason: str
    status: int = 0
    asked_s: float | None = None

    @property
    def may_pass(self) -> bool:
        return self.status in _MAY_PASS or self.status >= 500


class _BrokenAnswerError(Exception):
    """The answer is no answer of the chat API, or not all of one."""


@dataclass(slots=True, eq=False)
class ChatClient:
    """Talks to the server at `url` (with its /v1). Usable from one event loop after the other, never from two at once.

    `timeout_s` bounds one request, from sending it to the end of the answer. Without an `api_key` none is needed there.
    `retry_level`: the logging level of the notice that a request is sent again.
    """

    url: str
    api_key: str = field(default="", repr=False)
    timeout_s: float = 60.0
    retries: Retries = Retries()
    retry_level: int = logging.WARNING
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False, repr=False)
    _random: random.Random = field(default_factory=random.Random, init=False, repr=False)

    async def complete(
        self, model: str, messages: Sequence[Message], max_tokens: int, extra: Mapping[str, Any]
    ) -> Completion:
        """The likeliest next message after `messages`, at most `max_tokens` tokens of it.

        `extra`: more fields of the request, which may replace `max_tokens` and `temperature`; None leaves a field out.
        Raises RefusedError where the server refuses the request as it is, BackendError for every other failure that
        is final or outlasts the retries. Cancelling closes the connection.
        """

        fields = {"max_tokens": max_tokens, "temperature": 0.0, **extra}
        fields |= {"model": model, "messages": list(messages), "stream": True}
        body = {name: value for name, value in fields.items() if value is not None}

        async def send() -> Completion:
            from openai import AsyncStream
            from openai.types.chat import ChatCompletionChunk

            # not chat.completions.create: it walks through every message, which costs more than all the rest
            stream = await self._opened().post(
                "/chat/completions",
                body=body,
                cast_to=ChatCompletionChunk,
                stream=True,
                stream_cls=AsyncStream[ChatCompletionChunk],
            )
            async with stream:
                return await _read(stream)

        return await self._until_answered(send)

    async def model_names(self) -> list[str]:
        """What the server calls its models. Raises BackendError where it does not say."""

        async def send() -> list[str]:
            page = await self._opened().models.list()
            try:
                return [str(model.id) for model in page.data]
            except (AttributeError, TypeError) as error:
                raise _BrokenAnswerError("its list of models is none") from error

        return await self._until_answered(send)

    async def aclose(self) -> None:
        """Close the connections. The next request opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    def _opened(self) -> AsyncOpenAI:
        """The client of the running event loop: connections cannot move to another."""
        from openai import AsyncOpenAI

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            key = self.api_key or "none"  # the library insists on one
            self._client = AsyncOpenAI(base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=0)
            self._loop = loop
        return self._client

    async def _until_answered(self, send: Callable[[], Awaitable[T]]) -> T:
        num_failed = 0
        while True:
            outcome = await self._try(send)
            if not isinstance(outcome, _Failure):
                return outcome
            num_failed += 1
            wait_s = self.retries.wait_s(num_failed, outcome.asked_s, self._random.random())
            if not outcome.may_pass or wait_s is None:
                raise self._error(outcome, num_failed)
            _log.log(self.retry_level, "%s: %s; trying again in %.1f s", self.url, outcome.reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _try(self, send: Callable[[], Awaitable[T]]) -> T | _Failure:
        """The answer, or why there is none."""
        import openai

        try:
            async with asyncio.timeout(self.timeout_s):
                return await send()
        except (TimeoutError, openai.APITimeoutError):
            failure = _Failure(f"no whole answer within {self.timeout_s:g} s")
        except openai.APIError as error:
            failure = _failure(error)
        except (_BrokenAnswerError, ValueError) as error:  # ValueError: JSON or text that cannot be decoded
            failure = _Failure(f"an answer that cannot be read ({error})")
        reason = failure.reason.replace(self.api_key, "***") if self.api_key else failure.reason
        return replace(failure, reason=_shortened(reason))

    def _error(self, failure: _Failure, num_tries: int) -> BackendError:
        if failure.status in _REFUSED:
            return RefusedError(f"the server at {self.url} refused the request: {failure.reason}")
        tries = f" after {num_tries} tries, the last time" if num_tries > 1 else ""
        asked = "" if failure.asked_s is None else f"; it asks to come back in {failure.asked_s:g} s"
        advice = _ADVICE.get(failure.status, "check that it runs, and its address")
        return BackendError(f"the server at {self.url} gave no answer{tries}: {failure.reason}{asked}; {advice}")


def base_url(url: str) -> str:
    """`url` as the client library takes it: with /v1 where it has no path. Raises ConfigError for no HTTP address."""
    found = re.fullmatch(r"(?P<host>https?://[^/\s?#]+)(?P<path>/[^\s?#]*)?", url.strip(), re.IGNORECASE)
    if found is None or "@" in found["host"]:
        raise ConfigError(
            f"{shown_address(url)!r} is no address of a server; expected http://HOST:PORT or https://HOST/PATH with "
            "nothing before @ or behind ? or # (a key goes into OPENAI_API_KEY, not into the address)"
        )
    path = (found["path"] or "").rstrip("/")
    return found["host"] + (path or "/v1")


async def _read(stream: AsyncStream[ChatCompletionChunk]) -> Completion:
    """A whole streamed answer. Raises _BrokenAnswerError where it has another form, or ends before it is finished."""
    pieces: list[str] = []
    finish_reason: str | None = None
    first_probs: dict[str, float] | None = None
    tokens: tuple[int, int] | None = None
    async for chunk in stream:
        try:
            tokens = _counted(chunk.usage) or tokens
            if not chunk.choices:  # counts of tokens
                continue
            choice = chunk.choices[0]
            if first_probs is None and choice.logprobs is not None and choice.logprobs.content:
                first = choice.logprobs.content[0]
                first_probs = {c.token: math.exp(c.logprob) for c in (*(first.top_logprobs or ()), first)}
            pieces.append(choice.delta.content or "")
            finish_reason = choice.finish_reason or finish_reason
        except (AttributeError, TypeError, LookupError, OverflowError) as error:
            raise _BrokenAnswerError("it is not of the form of the chat API") from error
    if finish_reason is None or finish_reason == "abort":
        raise _BrokenAnswerError("it ended before it was finished")
    try:
        return Completion("".join(pieces), finish_reason == "length", first_probs, tokens)
    except TypeError as error:
        raise _BrokenAnswerError("it holds something else than text") from error


def _counted(usage: object) -> tuple[int, int] | None:
    """Tokens read and written, from what a server says of its usage, if it does."""
    num_in, num_out = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    return (num_in, num_out) if isinstance(num_in, int) and isinstance(num_out, int) else None


def _failure(error: APIError) -> _Failure:
    """What an error of the client library means."""
    import openai

    if isinstance(error, openai.APIConnectionError):
        return _Failure(f"no connection ({error.__cause__ or error})")
    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        said = error.body.get("message") if isinstance(error.body, dict) else None
        return _Failure(f"HTTP {error.status_code}: {said or error.message}", error.status_code, _asked_wait_s(headers))
    code = str(error.code)  # told in the middle of a stream
    return _Failure(f"an error while it wrote: {error.message}", int(code) if code.isdecimal() else 0)


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """The wait that a Retry-After header asks for, in seconds: it holds a number of them, or a date."""
    written = headers.get("retry-after", "")
    try:
        asked_s = float(written)
    except ValueError:
        try:
            asked_s = email.utils.parsedate_to_datetime(written).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(asked_s) else asked_s


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN_CHARACTERS else words[: _SHOWN_CHARACTERS - 3] + "..."
