"""What a chat server is sent: turns as messages, and a window over them, so that a prompt never outgrows its bound.

A round is one turn that was shown and its answer. Rounds pile up until a bound is reached; then old silent rounds are
dropped in one go, so that between two cuts every prompt begins with the one before it, as prefix caches want it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from oncue.chat_client import Message
from oncue.errors import ConfigError, InputError
from oncue.render.images import FrameProcessor
from oncue.render.markup import STRUCTURAL_MARKS
from oncue.types import EnvTurn


def system_message(text: str) -> Message:
    """The message that stands first. Raises InputError for text with a chat mark in it."""
    check_text(text)
    return {"role": "system", "content": text}


def policy_message(text: str) -> Message:
    """What the policy said, or the beginning of it."""
    return {"role": "assistant", "content": text}


def user_message(shown: EnvTurn, frames: FrameProcessor, jpeg_quality: int) -> Message:
    """A turn: its frames, scaled down as `frames` does for a local model, as JPEG; then its text.

    Raises InputError for text with a chat mark in it, which a server may take for the end of the message.
    """
    text = shown.text
    check_text(text)
    if not len(shown.frames):
        return {"role": "user", "content": text}
    parts: list[Message] = []
    for pixels in shown.frames.pixels:
        held = io.BytesIO()
        frames.resized(pixels).save(held, "JPEG", quality=jpeg_quality)
        data = base64.b64encode(held.getvalue()).decode("ascii")
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}] if text else parts}


def check_text(text: str) -> None:
    """Raise InputError for text with a chat mark in it."""
    for mark in STRUCTURAL_MARKS:
        if mark in text:
            raise InputError(f"the text {text!r:.120} holds {mark}, which steers a chat server; leave that out")


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """A turn as the two messages it is in the prompt; whether it brought a question, whether it was replied to."""

    shown: Message
    answered: Message
    asked: bool
    replied: bool


@dataclass(frozen=True, slots=True)
class RoundWindow:
    """Bounds of a prompt, in rounds.

    A turn that would make more than `max_rounds` cuts the prompt to at most `keep_rounds` (default: half) before it.
    Kept are the newest `max_questions` rounds that brought a question, the newest `max_replies` that were replied to,
    all with their frames, and as many of the newest as there is room for. The system message always stays.
    Raises ConfigError for numbers out of range.
    """

    max_rounds: int = 64
    keep_rounds: int | None = None
    max_questions: int = 4
    max_replies: int = 8

    def __post_init__(self) -> None:
        if self.max_questions < 1 or self.max_replies < 0:
            raise ConfigError(
                "a window keeps at least 1 question and 0 replies, "
                f"got max_questions={self.max_questions}, max_replies={self.max_replies}"
            )
        num_pinned = self.max_questions + self.max_replies
        if not num_pinned < self.num_kept < self.max_rounds:
            raise ConfigError(
                f"a cut must leave room for {num_pinned} pinned rounds and a newer one, and make room for another: "
                f"expected {num_pinned} < keep_rounds < max_rounds, got {self.num_kept} and {self.max_rounds}"
            )

    @property
    def num_kept(self) -> int:
        """How many rounds a cut leaves at most."""
        return self.max_rounds // 2 if self.keep_rounds is None else self.keep_rounds

    def cut(self, rounds: Sequence[Round]) -> tuple[Round, ...]:
        """The rounds, in order, that go before the next turn: all of them, or those that a cut keeps."""
        if len(rounds) < self.max_rounds:
            return tuple(rounds)
        newest_first = range(len(rounds) - 1, -1, -1)
        questions = [i for i in newest_first if rounds[i].asked][: self.max_questions]
        replies = [i for i in newest_first if rounds[i].replied][: self.max_replies]
        kept = list(dict.fromkeys((*questions, *replies, *newest_first)))[: self.num_kept]
        return tuple(rounds[i] for i in sorted(kept))
