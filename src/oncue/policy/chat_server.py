"""A policy behind any OpenAI-compatible chat server (vLLM, SGLang, ...): each turn is at most two
requests.

The first request asks for one token. If it begins the silence text, the client writes that text
itself and goes on: a silent turn costs the server one forward over what is new. Otherwise a second
request lets the server continue the message, streamed. A server that cannot continue a message gets
one whole request per turn; which kind it is shows at the first turn that is not silent.

A model that thinks before it answers cannot be read by its first token: once an answer held a
thought, each turn is one whole request too. Thoughts are never spoken, and never sent back.

In a grammar without silence each turn is one whole request from the start, and answers are sent
back as they were written, thoughts included.

The server keeps nothing between turns: the dialogue is sent again each time, bounded by
`PromptBounds`, and the server's prefix cache spares it the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncue.chat_client import ChatClient, Message, RefusedError, Retries, TooLargeError, base_url
from oncue.chat_stream import Completion
from oncue.errors import BackendError, ConfigError
from oncue.policy.chat_opening import Opening, can_begin_message, opening
from oncue.policy.chat_prompt import policy_message, system_message, user_message
from oncue.policy.chat_window import (
    PromptBounds,
    Round,
    RoundWindow,
    Size,
    size_of,
    total_size,
)
from oncue.render.actions import TextFormat
from oncue.render.base import ActionFormat
from oncue.render.images import FrameProcessor
from oncue.render.markup import PROACTIVE_SYSTEM
from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS
from oncue.thoughts import CLOSING, OPENING, behind_thoughts, thought_in
from oncue.types import Action, EnvTurn, Malformed, PolicyTurn, Silence

_log = logging.getLogger(__name__)
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}
_NUM_CANDIDATES = 5  # for the first token, with their probabilities; no server allows fewer
_TOO_SMALL = (
    "not even one turn fits: show fewer or smaller frames (--frames-per-turn, --max-pixels), allow "
    "shorter replies "
    "(--max-new-tokens), or give the server a larger limit"
)
_NUM_COMPARED = 8  # tokens of a continuation that show whether it is one


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a chat server is asked.

    `verify_silence`: let the server finish each turn that begins like silence, and take it for
    silence only if it is exactly that; without it, the first word of the silence text decides.
    `silence_token_ids`: ids of the first token of silence in the model's vocabulary; vLLM then
    gives their probability even where they are unlikely. `context_tokens` bounds a prompt in tokens
    as estimated here, in place of the rounds of `window`. `timeout_s` bounds each request. Raises
    ConfigError for numbers out of range.
    """

    max_new_tokens: int = 512
    max_pixels: int = MMDUET2_MAX_PIXELS
    jpeg_quality: int = 90
    verify_silence: bool = False
    silence_token_ids: tuple[int, ...] = ()
    timeout_s: float = 60.0
    retries: Retries = field(default_factory=Retries)
    window: RoundWindow = field(default_factory=RoundWindow)
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 1 <= self.jpeg_quality <= 100 or not self.timeout_s > 0:
            raise ConfigError(
                "a chat server needs max_new_tokens >= 1, jpeg_quality from 1 to 100 and timeout_s "
                "> 0, got "
                f"{self.max_new_tokens}, {self.jpeg_quality} and {self.timeout_s}"
            )


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    at_limit: bool
    silence_probability: float | None = None
    thought: str = ""  # where the server wrote it apart; else it is in `text`


class ChatServer:
    """A model on a server, and what was learnt about that server. Open a session per dialogue; they
    may share it.

    `url` is the server's address with or without its /v1; `api_key` defaults to the variable
    OPENAI_API_KEY. Nothing is sent before the first turn. Raises ConfigError for an address that
    cannot be one.
    """

    def __init__(
        self,
        url: str,
        model: str,
        options: ServerOptions | None = None,
        *,
        api_key: str | None = None,
    ) -> None:
        self.model = model
        self.options = options or ServerOptions()
        key = os.environ.get("OPENAI_API_KEY", "") if api_key is None else api_key
        self.client = ChatClient(base_url(url), key, self.options.timeout_s, self.options.retries)
        self.continues: bool | None = (
            None  # whether the server continues a message; None: not known yet
        )
        self.thinks = False  # whether an answer held a thought
        self.opens_thoughts = False  # whether the mark before a thought is in the server's template
        self.bounds = PromptBounds(self.options.window, self.options.context_tokens)
        self._frames = FrameProcessor(max_pixels=self.options.max_pixels)
        listing: dict[str, Any] = {"logprobs": True, "top_logprobs": _NUM_CANDIDATES}
        self._extras: list[Mapping[str, Any]] = [
            listing,
            {},
        ]  # fields for the first token; the first not yet refused
        if self.options.silence_token_ids:
            self._extras.insert(
                0, {**listing, "logprob_token_ids": list(self.options.silence_token_ids)}
            )

    def open(
        self,
        system: str = PROACTIVE_SYSTEM,
        action_format: ActionFormat | None = None,
        last_turns: int | None = None,
    ) -> ChatSession:
        """A new dialogue that begins with the system message `system`.

        `action_format`: the grammar that answers are read by, `TextFormat` by default.
        `last_turns`: how many turns before the one that is shown are sent with it; by default as
        many as the bounds of the server allow. Raises ConfigError for a number below 0.
        """
        return ChatSession(self, system, action_format or TextFormat(), last_turns)

    async def aclose(self) -> None:
        """Close the connections to the server."""
        await self.client.aclose()

    def user_message(self, shown: EnvTurn) -> Message:
        """A turn as a message. Raises InputError for text that would steer the server."""
        return user_message(shown, self._frames, self.options.jpeg_quality)

    def user_size(self, shown: EnvTurn, message: Message) -> Size:
        """The size of `message`, which is the turn `shown`."""
        return size_of(
            message, sum(self._frames.token_count(*pixels.shape[:2]) for pixels in shown.pictures)
        )

    async def answer(self, messages: Sequence[Message], silence_text: str | None) -> _Answer:
        """The model's answer to the last of `messages`, in as few tokens as it takes.

        Without silence in the grammar it is always one whole request, and a thought that the server
        writes apart is put into the text, as the grammar has it, unless there is one already.
        """
        if silence_text is None:
            done = await self.client.complete(self.model, messages, self.options.max_new_tokens, {})
            return _with_thought(done)
        if self.thinks or self.continues is False:
            return await self._whole(messages, silence_text)
        first = await self._ask(messages, 1)
        begins = opening(first.text, silence_text)
        if first.thought or begins is Opening.THINKS:
            return await self._whole(messages, silence_text)
        probability = _silence_probability(first, silence_text)
        if not first.at_limit:
            return _Answer(first.text, False, probability)
        if begins is Opening.SILENT and not self.options.verify_silence:
            return _Answer(silence_text, False, probability)
        if self.options.max_new_tokens == 1:
            return _Answer(first.text, True, probability)
        if not can_begin_message(first.text):
            return await self._whole(messages, silence_text)
        if self.continues is None:
            return await self._learn(messages, first, silence_text)
        rest = await self._rest(messages, first, self.options.max_new_tokens - 1)
        if rest is None:
            return await self._whole(messages, silence_text)
        return _Answer(first.text + rest.text, rest.at_limit, probability)

    async def _whole(self, messages: Sequence[Message], silence_text: str) -> _Answer:
        done = await self._ask(messages, self.options.max_new_tokens)
        has_thought = bool(done.thought) or OPENING in done.text or CLOSING in done.text
        if has_thought and not self.thinks:
            _log.warning(
                "the model on %s thinks first: from now on each turn is one whole request",
                self.client.url,
            )
        self.thinks |= has_thought
        self.opens_thoughts |= CLOSING in done.text and OPENING not in done.text
        if has_thought:
            return _Answer(done.text, done.at_limit, thought=done.thought)
        if self.opens_thoughts and done.at_limit:
            return _Answer(OPENING + done.text, True)
        return _Answer(done.text, done.at_limit, _silence_probability(done, silence_text))

    async def _learn(
        self, messages: Sequence[Message], first: Completion, silence_text: str
    ) -> _Answer:
        """The answer as a whole, and then whether continuing `first` leads to the same: some
        servers start over."""
        whole = await self._whole(messages, silence_text)
        following = whole.text[len(first.text) :]
        if self.thinks or not following or not whole.text.startswith(first.text):
            return whole  # nothing to compare with, or no more to learn
        try:
            rest = await self._rest(messages, first, _NUM_COMPARED)
        except BackendError as error:
            _log.warning("whether %s continues a message is still open: %s", self.client.url, error)
            return whole
        self.continues = rest is not None and bool(rest.text) and following.startswith(rest.text)
        if not self.continues:
            _log.warning(
                "%s does not continue a message: from now on each turn is one whole request",
                self.client.url,
            )
        return whole

    async def _rest(
        self, messages: Sequence[Message], first: Completion, max_tokens: int
    ) -> Completion | None:
        """How the server continues a message that begins with `first`; None where it refuses to."""
        begun = policy_message(first.text)
        try:
            return await self.client.complete(self.model, [*messages, begun], max_tokens, _CONTINUE)
        except RefusedError:
            return None

    async def _ask(self, messages: Sequence[Message], max_tokens: int) -> Completion:
        """A request with as many of the extra fields as the server takes; which those are is
        remembered."""
        extras = self._extras
        for place, extra in enumerate(extras[:-1]):
            with contextlib.suppress(RefusedError):
                done = await self.client.complete(self.model, messages, max_tokens, extra)
                self._take_only(extras[place:])
                return done
        done = await self.client.complete(self.model, messages, max_tokens, extras[-1])
        self._take_only(extras[-1:])
        return done

    def _take_only(self, extras: list[Mapping[str, Any]]) -> None:
        if len(extras) < len(self._extras):
            refused = ", ".join(sorted(self._extras[0].keys() - extras[0].keys()))
            _log.warning("%s takes no %s; going on without", self.client.url, refused)
            self._extras = extras


def _with_thought(done: Completion) -> _Answer:
    """The answer `done` with its thought in the text. A model that thinks by itself may do so once
    more within the text, as it was asked to; that alone then stays in it."""
    own, text = thought_in(done.text), done.text
    if done.thought and OPENING not in text and CLOSING not in text:
        text = f"{OPENING}{done.thought}{CLOSING}{text}"
    thoughts = [thought for thought in (done.thought, own) if thought]
    return _Answer(text, done.at_limit, thought="\n\n".join(thoughts))


def _silence_probability(done: Completion, silence_text: str) -> float | None:
    if done.first_probs is None:
        return None
    return sum(
        p for token, p in done.first_probs.items() if opening(token, silence_text) is Opening.SILENT
    )


class ChatSession:
    """A `PolicySession` on a `ChatServer`. Get one from `ChatServer.open`.

    `silence_probability` is that of the newest turn: how likely its first token began silence, as
    far as the server listed candidates (so it may be too low), or None where it lists none.
    """

    def __init__(
        self,
        server: ChatServer,
        system: str,
        action_format: ActionFormat,
        last_turns: int | None,
    ) -> None:
        if last_turns is not None and last_turns < 0:
            raise ConfigError(f"last_turns must be at least 0, got {last_turns}")
        self.silence_probability: float | None = None
        self._server = server
        self._format = action_format
        self._last_turns = last_turns
        self._system = system_message(system)
        self._rounds: tuple[Round, ...] = ()
        self._busy = False
        self._closed = False

    @property
    def num_rounds(self) -> int:
        """How many rounds the prompt of the next turn holds at most. 0 once closed."""
        return len(self._rounds)

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        """Show a turn and get the policy's answer, without token ids. Turns of one session go one
        after the other.

        Raises BackendError where the server gives no answer, InputError for a turn that cannot be
        sent. After an error, and after being cancelled, the session is as it was before: the turn
        can be shown again.
        """
        if self._closed or self._busy:
            state = (
                "closed; open another one"
                if self._closed
                else "answering a turn; await it before the next"
            )
            raise RuntimeError(f"this session is {state}")
        self._busy = True
        started = time.perf_counter()
        try:
            shown = self._server.user_message(observed)
            size = self._server.user_size(observed, shown)
            answer, kept = await self._answer(shown, size, observed.clock_s)
        finally:
            self._busy = False
        action = self._format.read(answer.text, truncated=answer.at_limit)
        if not self._closed:
            answered = policy_message(self._remembered(answer.text, action))
            replied = not isinstance(action, Silence | Malformed)
            now = Round(shown, answered, observed.text, replied, size + size_of(answered))
            rounds = (*kept, now)
            most = len(rounds) if self._last_turns is None else self._last_turns
            self._rounds = rounds[max(0, len(rounds) - most) :]
        self.silence_probability = answer.silence_probability
        latency_ms = (time.perf_counter() - started) * 1000
        return PolicyTurn(
            action,
            latency_ms=latency_ms,
            forced_close=answer.at_limit,
            thought=answer.thought or thought_in(answer.text),
        )

    def _remembered(self, text: str, action: Action) -> str:
        """What the prompts of later turns hold of an answer. Of a stream that is what was heard: no
        thought, and silence for one that was cut off. Elsewhere it is all that was written."""
        silence_text = self._format.silence_text
        if silence_text is None:
            return text
        said = behind_thoughts(text)
        return silence_text if said is None or isinstance(action, Silence) else said

    async def _answer(
        self, shown: Message, size: Size, clock_s: float
    ) -> tuple[_Answer, tuple[Round, ...]]:
        """The answer to the turn `shown`, and the rounds that went before it: fewer where the
        server takes less."""
        bounds, fixed = self._server.bounds, size_of(self._system) + size
        kept = bounds.kept(self._rounds, fixed, clock_s)
        while True:
            past = [message for turn in kept for message in (turn.shown, turn.answered)]
            try:
                messages = [self._system, *past, shown]
                return await self._server.answer(messages, self._format.silence_text), kept
            except TooLargeError as error:
                is_new = bounds.refused(error.unit, fixed + total_size(turn.size for turn in kept))
                fewer = bounds.kept(kept, fixed, clock_s)
                if fewer == kept:
                    raise TooLargeError(f"{error}; {_TOO_SMALL}", error.unit) from error
                if is_new:
                    _log.warning("%s; old turns are left out from now on", error)
                kept = fewer

    def close(self) -> None:
        """Forget the dialogue. A closed session answers nothing; closing twice is fine."""
        self._closed, self._rounds = True, ()


def connect(url: str, model: str | None = None, options: ServerOptions | None = None) -> ChatServer:
    """The server at `url` and its model `model`, or the only one it has. Not for use inside an
    event loop.

    Raises ConfigError where the model must be named, BackendError where the server does not say
    which it has.
    """
    server = ChatServer(url, model or "", options)
    if model is None:
        names = asyncio.run(_model_names(server))
        if len(names) != 1:
            known = (
                f"it has {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
                if names
                else "it lists none"
            )
            raise ConfigError(
                f"name the model that {server.client.url} should use (--model NAME): {known}"
            )
        server.model = names[0]
    return server


async def _model_names(server: ChatServer) -> list[str]:
    try:
        return await server.client.model_names()
    finally:
        await server.aclose()
