"""What a prompt to a chat server keeps: a window over its rounds, so that it stays within bounds.

A round is one turn that was shown and its answer. Rounds pile up until a bound is reached; then old
silent rounds are dropped in one go, so that between two cuts every prompt begins with the one
before it, as prefix caches want it. What a server refuses as too large is a bound from then on, for
all sessions on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oncue.chat_client import Message
from oncue.chat_limits import Unit
from oncue.errors import ConfigError, ContextFullError

_BYTES_PER_TOKEN = 4  # of text, about: English has a little more, other scripts have less
_TOKENS_PER_MESSAGE = 5  # its marks, its role, the line breaks
_TOKENS_PER_IMAGE = 2  # the marks around it
_SAFE_SHARE = 0.9  # of what was refused


@dataclass(frozen=True, slots=True)
class Size:
    """How large a part of a prompt is: its images, its tokens as estimated here, its bytes in the
    request."""

    images: int = 0
    tokens: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(
            self.images + other.images, self.tokens + other.tokens, self.bytes + other.bytes
        )

    def of(self, unit: Unit) -> int:
        amount: int = getattr(self, unit)
        return amount

    def fits(self, limits: Mapping[Unit, int]) -> bool:
        """Whether it is within all of `limits`."""
        return all(self.of(unit) <= most for unit, most in limits.items())


def size_of(message: Message, image_tokens: int = 0) -> Size:
    """The size of a message whose images are `image_tokens` vision tokens together."""
    content = message["content"]
    parts: list[Message] = (
        [{"type": "text", "text": content}] if isinstance(content, str) else content
    )
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    num_text = sum(len(part["text"].encode()) for part in parts if part["type"] == "text")
    tokens = (
        _TOKENS_PER_MESSAGE
        + -(-num_text // _BYTES_PER_TOKEN)
        + image_tokens
        + _TOKENS_PER_IMAGE * len(images)
    )
    return Size(len(images), tokens, num_text + sum(map(len, images)))


def total_size(parts: Iterable[Size]) -> Size:
    """The size of all `parts` together."""
    return sum(parts, Size())


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """A turn as the two messages it is in the prompt, of `size` together; the `text` that it
    brought, without the marks of its frames; whether it was replied to."""

    shown: Message
    answered: Message
    text: str
    replied: bool
    size: Size = Size()

    @property
    def asked(self) -> bool:
        """Whether it brought a question."""
        return bool(self.text)

    def without_images(self) -> Round:
        """The round with the text of its turn alone; itself where that is all it has."""
        if not self.size.images:
            return self
        shown = {**self.shown, "content": self.text}
        return replace(self, shown=shown, size=size_of(shown) + size_of(self.answered))


@dataclass(frozen=True, slots=True)
class RoundWindow:
    """Bounds of a prompt, in rounds.

    A turn that would make more than `max_rounds` cuts the prompt to at most `keep_rounds` (default:
    half) before it. Kept are the newest `max_questions` rounds that brought a question, the newest
    `max_replies` that were replied to, all with their frames, and as many of the newest as there is
    room for. The system message always stays. Raises ConfigError for numbers out of range.
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
                f"a cut must leave room for {num_pinned} pinned rounds and a newer one, and make "
                "room for another: "
                f"expected {num_pinned} < keep_rounds < max_rounds, got {self.num_kept} and "
                f"{self.max_rounds}"
            )

    @property
    def num_kept(self) -> int:
        """How many rounds a cut leaves at most."""
        return self.max_rounds // 2 if self.keep_rounds is None else self.keep_rounds

    def cut(self, rounds: Sequence[Round]) -> tuple[Round, ...]:
        """The rounds, in order, that go before the next turn: all of them, or those that a cut
        keeps."""
        if len(rounds) < self.max_rounds:
            return tuple(rounds)
        kept = list(self._by_importance(rounds))[: self.num_kept]
        return tuple(rounds[i] for i in sorted(kept))

    def fitted(
        self, rounds: Sequence[Round], fixed: Size, limits: Mapping[Unit, int]
    ) -> tuple[Round, ...]:
        """The rounds that go between messages of the size `fixed`, such that the prompt is within
        `limits`.

        A cut leaves at most half of each limit to them. The newest question always stays, without
        its frames where those are too many.
        """
        if (fixed + total_size(turn.size for turn in rounds)).fits(limits):
            return tuple(rounds)
        room = {unit: min(most // 2, most - fixed.of(unit)) for unit, most in limits.items()}
        kept: dict[int, Round] = {}
        taken = Size()
        for i in self._by_importance(rounds):
            turn, is_newest_question = rounds[i], not kept and rounds[i].asked
            if is_newest_question and not turn.size.fits(room):
                turn = turn.without_images()
            if not is_newest_question and not (taken + turn.size).fits(room):
                break
            kept[i], taken = turn, taken + turn.size
        return tuple(kept[i] for i in sorted(kept))

    def _by_importance(self, rounds: Sequence[Round]) -> Iterable[int]:
        """The places of all rounds: the newest questions, the newest replies, the newest of the
        others."""
        newest_first = range(len(rounds) - 1, -1, -1)
        questions = [i for i in newest_first if rounds[i].asked][: self.max_questions]
        replies = [i for i in newest_first if rounds[i].replied][: self.max_replies]
        return dict.fromkeys((*questions, *replies, *newest_first))


@dataclass(slots=True)
class PromptBounds:
    """How large the prompts of one server may be, and what was learned about that. Its sessions
    share it.

    `context_tokens` bounds a prompt in estimated tokens, in place of the number of rounds of
    `window`. `learned` are the limits of the server itself.
    """

    window: RoundWindow
    context_tokens: int | None = None
    learned: dict[Unit, int] = field(default_factory=dict)

    def kept(self, rounds: Sequence[Round], fixed: Size, clock_s: float) -> tuple[Round, ...]:
        """The rounds that go before the turn at `clock_s`, which has the size `fixed` with the
        system message.

        Raises ContextFullError where that turn and the newest question are more than
        `context_tokens`.
        """
        most = self.context_tokens
        if most is None:
            return self.window.fitted(self.window.cut(rounds), fixed, self.learned)
        kept = self.window.fitted(
            rounds, fixed, {**self.learned, "tokens": min(most, self.learned.get("tokens", most))}
        )
        num_needed = (fixed + total_size(turn.size for turn in kept)).tokens
        if num_needed > most:
            raise ContextFullError(
                f"the turn at {clock_s:g} s needs about {num_needed} tokens with what must be kept "
                "(the system message "
                f"and the newest question), and {most} are allowed; allow more (--context-tokens), "
                "or show fewer or "
                "smaller frames"
            )
        return kept

    def refused(self, unit: Unit, size: Size) -> bool:
        """Stay below `size` from now on: the server refused a prompt of it for its `unit`. Whether
        `unit` is news."""
        is_news, most = unit not in self.learned, int(_SAFE_SHARE * size.of(unit))
        self.learned[unit] = min(most, self.learned.get(unit, most))
        return is_news
