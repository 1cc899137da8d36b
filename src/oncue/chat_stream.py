"""What a chat server answers, read from its stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types.chat import ChatCompletionChunk

# Of a piece of an answer; vLLM, SGLang and others have either
_THOUGHT_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server wrote. `at_limit`: the token limit ended it.

    `first_probs`: the probabilities of the candidates for the first token that the server listed,
    by their text, the one written among them; None where it listed none. `tokens`: how many it read
    and wrote, None where it did not say. `thought`: what the model thinks, where the server writes
    that apart from `text`.
    """

    text: str
    at_limit: bool
    first_probs: Mapping[str, float] | None = None
    tokens: tuple[int, int] | None = None
    thought: str = ""


class BrokenAnswerError(Exception):
    """The answer is no answer of the chat API, or not all of one."""


async def read_completion(stream: AsyncStream[ChatCompletionChunk]) -> Completion:
    """A whole streamed answer. Raises BrokenAnswerError where it has another form, or ends before
    it is finished."""
    pieces: list[str] = []
    finish_reason: str | None = None
    first_probs: dict[str, float] | None = None
    tokens: tuple[int, int] | None = None
    thoughts: list[str] = []
    async for chunk in stream:
        try:
            tokens = _counted(chunk.usage) or tokens
            if not chunk.choices:  # counts of tokens
                continue
            choice = chunk.choices[0]
            if first_probs is None and choice.logprobs is not None and choice.logprobs.content:
                first = choice.logprobs.content[0]
                first_probs = {
                    c.token: math.exp(c.logprob) for c in (*(first.top_logprobs or ()), first)
                }
            pieces.append(choice.delta.content or "")
            thoughts += [
                text for name in _THOUGHT_FIELDS if (text := getattr(choice.delta, name, None))
            ][:1]
            finish_reason = choice.finish_reason or finish_reason
        except (AttributeError, TypeError, LookupError, OverflowError) as error:
            raise BrokenAnswerError("it is not of the form of the chat API") from error
    if finish_reason is None or finish_reason == "abort":
        raise BrokenAnswerError("it ended before it was finished")
    try:
        return Completion(
            _text(pieces), finish_reason == "length", first_probs, tokens, _text(thoughts)
        )
    except TypeError as error:
        raise BrokenAnswerError("it holds something other than text") from error


def _text(pieces: Sequence[str]) -> str:
    """All pieces as one text. JSON can name halves of characters: two that meet are one, and a
    single one, which could neither be sent nor stored, is U+FFFD."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _counted(usage: object) -> tuple[int, int] | None:
    """Tokens read and written, from what a server says of its usage, if it does."""
    num_in, num_out = (
        getattr(usage, "prompt_tokens", None),
        getattr(usage, "completion_tokens", None),
    )
    return (num_in, num_out) if isinstance(num_in, int) and isinstance(num_out, int) else None
