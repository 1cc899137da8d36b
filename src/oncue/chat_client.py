"""One request to an OpenAI-compatible chat server, sent until it is answered: retries, time limits,
errors of ours.

The client library's own retries are off: they cannot repeat an answer that breaks off in the
middle, and one rule for all failures is easier to know. Every request is a stream, so that there is
one way to read an answer and a cut is seen.
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

from oncue.chat_limits import Unit, exceeded
from oncue.chat_stream import BrokenAnswerError, Completion, read_completion
from oncue.errors import BackendError, ConfigError, shown_address

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

T = TypeVar("T")
Message = dict[str, Any]  # one message of the chat API

_log = logging.getLogger(__name__)
_MAY_PASS = frozenset((0, 408, 409, 429))  # and everything from 500
_REFUSED = frozenset((400, 422))  # how servers answer a request with a field they do not take
_KEY_ADVICE = "give its key in OPENAI_API_KEY"
_ADVICE = {
    401: _KEY_ADVICE,
    403: _KEY_ADVICE,
    404: "check its address, which mostly ends in /v1, and the model's name",
}
_SHOWN_CHARACTERS = 300  # of what a server says: some send the request back


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after which wait, a request is sent again that failed in a way that may pass.

    The wait doubles from `first_wait_s` up to `longest_wait_s`, and a random half of it is left
    out, so that many sessions do not come back at once. Where the server says when to come back,
    that is the wait; a server that wants more than `longest_asked_s` is not waited for. Raises
    ConfigError for numbers out of range.
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
        """Seconds to wait after `num_failed` (>= 1) failures, the last of which asked for
        `asked_s`; None: give up.

        `share` in [0, 1] is the random part of the half that may be left out.
        """
        if num_failed > self.max_retries or (
            asked_s is not None and asked_s > self.longest_asked_s
        ):
            return None
        if asked_s is not None:
            return max(asked_s, 0.0)
        return min(self.first_wait_s * 2.0 ** min(num_failed - 1, 64), self.longest_wait_s) * (
            1 - share / 2
        )


class RefusedError(BackendError):
    """The server took the request for a wrong one; it may have held a field that the server does
    not know."""


class TooLargeError(BackendError):
    """The server takes no request with that much of `unit`."""

    def __init__(self, message: str, unit: Unit) -> None:
        super().__init__(message)
        self.unit = unit


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a request failed, in words; its HTTP status, 0 where it got none; when to come back, if
    the server said; what the request had too much of, if that was the reason."""

    reason: str
    status: int = 0
    asked_s: float | None = None
    too_much: Unit | None = None

    @property
    def may_pass(self) -> bool:
        return self.status in _MAY_PASS or self.status >= 500


@dataclass(slots=True, eq=False)
class ChatClient:
    """Talks to the server at `url` (with its /v1). Usable from one event loop after the other,
    never from two at once.

    `timeout_s` bounds one request, from sending it to the end of the answer. Without an `api_key`
    none is needed there. `retry_level`: the logging level of the notice that a request is sent
    again. `before_try` is awaited before each try, outside its time limit.
    """

    url: str
    api_key: str = field(default="", repr=False)
    timeout_s: float = 60.0
    retries: Retries = Retries()
    retry_level: int = logging.WARNING
    before_try: Callable[[], Awaitable[None]] | None = None
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False, repr=False)
    _random: random.Random = field(default_factory=random.Random, init=False, repr=False)

    async def complete(
        self, model: str, messages: Sequence[Message], max_tokens: int, extra: Mapping[str, Any]
    ) -> Completion:
        """The likeliest next message after `messages`, at most `max_tokens` tokens of it.

        `extra`: more fields of the request, which may replace `max_tokens` and `temperature`; None
        leaves a field out. Raises TooLargeError where the server takes less at once, RefusedError
        where it refuses the request for another reason, BackendError for every other failure that
        is final or outlasts the retries. Cancelling closes the connection.
        """
        fields = {"max_tokens": max_tokens, "temperature": 0.0, **extra}
        fields |= {"model": model, "messages": list(messages), "stream": True}
        body = {name: value for name, value in fields.items() if value is not None}

        async def send() -> Completion:
            from openai import AsyncStream
            from openai.types.chat import ChatCompletionChunk

            # not chat.completions.create: it walks through every message, which costs more than all
            # the rest
            stream = await self._opened().post(
                "/chat/completions",
                body=body,
                cast_to=ChatCompletionChunk,
                stream=True,
                stream_cls=AsyncStream[ChatCompletionChunk],
            )
            async with stream:
                return await read_completion(stream)

        return await self._until_answered(send)

    async def model_names(self) -> list[str]:
        """What the server calls its models. Raises BackendError where it does not say."""

        async def send() -> list[str]:
            page = await self._opened().models.list()
            try:
                return [str(model.id) for model in page.data]
            except (AttributeError, TypeError) as error:
                raise BrokenAnswerError("its list of models cannot be read") from error

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
            self._client = AsyncOpenAI(
                base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=0
            )
            self._loop = loop
        return self._client

    async def _until_answered(self, send: Callable[[], Awaitable[T]]) -> T:
        num_failed = 0
        while True:
            if self.before_try is not None:
                await self.before_try()
            outcome = await self._try(send)
            if not isinstance(outcome, _Failure):
                return outcome
            num_failed += 1
            wait_s = self.retries.wait_s(num_failed, outcome.asked_s, self._random.random())
            if not outcome.may_pass or wait_s is None:
                raise self._error(outcome, num_failed)
            _log.log(
                self.retry_level, "%s: %s; trying again in %.1f s", self.url, outcome.reason, wait_s
            )
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
        except (BrokenAnswerError, ValueError) as error:
            # ValueError: JSON or text that cannot be decoded
            failure = _Failure(f"an answer that cannot be read ({error})")
        reason = failure.reason.replace(self.api_key, "***") if self.api_key else failure.reason
        return replace(failure, reason=_shortened(reason))

    def _error(self, failure: _Failure, num_tries: int) -> BackendError:
        if failure.too_much is not None:
            return TooLargeError(
                f"the request is too large for the server at {self.url}: {failure.reason}",
                failure.too_much,
            )
        if failure.status in _REFUSED:
            return RefusedError(f"the server at {self.url} refused the request: {failure.reason}")
        tries = f" after {num_tries} tries, the last time" if num_tries > 1 else ""
        asked = (
            "" if failure.asked_s is None else f"; it asks to come back in {failure.asked_s:g} s"
        )
        advice = _ADVICE.get(failure.status, "check that it runs, and its address")
        return BackendError(
            f"the server at {self.url} gave no answer{tries}: {failure.reason}{asked}; {advice}"
        )


def base_url(url: str) -> str:
    """`url` as the client library takes it: with /v1 where it has no path. Raises ConfigError for
    no HTTP address."""
    found = re.fullmatch(
        r"(?P<host>https?://[^/\s?#]+)(?P<path>/[^\s?#]*)?", url.strip(), re.IGNORECASE
    )
    if found is None or "@" in found["host"]:
        raise ConfigError(
            f"{shown_address(url)!r} is no address of a server; expected http://HOST:PORT or "
            "https://HOST/PATH with "
            "nothing before @ or behind ? or # (a key goes into OPENAI_API_KEY, not into the "
            "address)"
        )
    path = (found["path"] or "").rstrip("/")
    return found["host"] + (path or "/v1")


def _failure(error: APIError) -> _Failure:
    """What an error of the client library means."""
    import openai

    if isinstance(error, openai.APIConnectionError):
        return _Failure(f"no connection ({error.__cause__ or error})")
    code = str(error.code)
    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        said = (
            error.body.get("message") if isinstance(error.body, dict) else None
        ) or error.message
        status, asked_s = error.status_code, _asked_wait_s(headers)
        reason = f"HTTP {status}: {said}"
    else:  # in the middle of a stream
        said, asked_s = error.message, None
        status = int(code) if code.isdecimal() else 0
        reason = f"an error while it wrote: {said}"
    return _Failure(reason, status, asked_s, exceeded(status or 400, f"{said} {code} {error.type}"))


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """The wait that a Retry-After header asks for, in seconds: it holds a number of them, or a
    date."""
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
