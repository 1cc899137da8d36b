"""How a turn is decided, in tokens: what may be chosen, what each choice puts before the model,
what stays behind.

A policy answers a turn by choosing ids one after the other. `TextDecision` is MMDuet2's: the answer
is a text, and silence is one of the texts. `TokenDecision` (paper, appendix A) decides by one token
that stays nowhere: silence adds nothing to the context. Whoever chooses (the engine) and whoever
trains reads the rules here and nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Literal, Protocol

DecisionName = Literal["text", "token"]


class Lead(enum.Enum):
    """How the prefix ends when a turn is appended to it."""

    START = "start"  # with the system message
    CLOSED = "closed"  # with the closing mark of a policy turn
    OPEN = "open"  # inside a user turn that goes on (only in `TokenDecision`)


class DecisionFormat(Protocol):
    """The rules of one format. `chosen` are the ids chosen so far in this answer, in order."""

    @property
    def silence_draft(self) -> tuple[int, ...]:
        """The choices of a silent answer but the last: what may be put before the model in
        advance."""
        ...

    def allowed(self, num_chosen: int) -> frozenset[int] | None:
        """The ids the next choice is limited to; None: every id but structural ones, or the closing
        mark."""
        ...

    def next_input(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        """What goes into the model after the last of `chosen` and before the next choice; None: the
        answer is done."""
        ...

    def kept(self, chosen: Sequence[int]) -> tuple[int, ...]:
        """What a finished answer leaves in the prefix. Begins with all that `next_input` gave on
        the way."""
        ...

    def lead_after(self, chosen: Sequence[int]) -> Lead:
        """How the prefix ends after this answer."""
        ...

    def choices(self, text_ids: Sequence[int], *, silent: bool) -> tuple[int, ...]:
        """What is chosen to say the text `text_ids`, which is that of silence where `silent`."""
        ...

    def said(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        """The ids of the text said, its closing mark included; None: silence without words."""
        ...


class TextDecision:
    """The answer is text up to the closing mark, and all of it stays. Silence is the text
    `silence_text_ids`."""

    def __init__(self, silence_text_ids: Sequence[int], closing_id: int) -> None:
        self.silence_draft = tuple(silence_text_ids)
        self._closing_id = closing_id

    def allowed(self, num_chosen: int) -> frozenset[int] | None:  # noqa: ARG002 - the rule is the same at every choice
        return None

    def next_input(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        return None if chosen[-1] == self._closing_id else (chosen[-1],)

    def kept(self, chosen: Sequence[int]) -> tuple[int, ...]:
        return tuple(chosen)

    def lead_after(self, chosen: Sequence[int]) -> Lead:  # noqa: ARG002
        return Lead.CLOSED

    def choices(self, text_ids: Sequence[int], *, silent: bool) -> tuple[int, ...]:  # noqa: ARG002
        return (*text_ids, self._closing_id)

    def said(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        return tuple(chosen)


class TokenDecision:
    """The first choice is silence (`silence_id`) or a reply (`closing_id`, which closes the turn
    shown).

    Silence leaves nothing behind: the turn shown goes on. After the other choice `header_ids`
    follow, unchosen, and then the text of the reply is chosen up to its own `closing_id`; all of it
    stays.
    """

    silence_draft: tuple[int, ...] = ()

    def __init__(self, silence_id: int, closing_id: int, header_ids: Sequence[int]) -> None:
        self._silence_id, self._closing_id = silence_id, closing_id
        self._header_ids = tuple(header_ids)
        self._first = frozenset((silence_id, closing_id))

    def allowed(self, num_chosen: int) -> frozenset[int] | None:
        return None if num_chosen else self._first

    def next_input(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        if len(chosen) == 1:
            return None if chosen[0] == self._silence_id else (chosen[0], *self._header_ids)
        return None if chosen[-1] == self._closing_id else (chosen[-1],)

    def kept(self, chosen: Sequence[int]) -> tuple[int, ...]:
        return () if chosen[0] == self._silence_id else (chosen[0], *self._header_ids, *chosen[1:])

    def lead_after(self, chosen: Sequence[int]) -> Lead:
        return Lead.OPEN if chosen[0] == self._silence_id else Lead.CLOSED

    def choices(self, text_ids: Sequence[int], *, silent: bool) -> tuple[int, ...]:
        return (self._silence_id,) if silent else (self._closing_id, *text_ids, self._closing_id)

    def said(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        if tuple(chosen) == (self._silence_id,):
            return None
        return tuple(chosen[1:] if chosen[0] == self._closing_id else chosen)
