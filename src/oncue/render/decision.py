"""How a turn is decided, in tokens: what may be chosen, what each choice puts before the model, what stays behind.

A policy answers a turn by choosing ids one after the other. `TextDecision` is MMDuet2's: the answer is a text, and
silence is one of the texts. Whoever chooses (the engine) and whoever trains reads the rules here and nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol


class Lead(enum.Enum):
    """How the prefix ends when a turn is appended to it."""

    START = "start"  # with the system message
    CLOSED = "closed"  # with the closing mark of a policy turn
    OPEN = "open"  # inside a user turn that goes on (never in `TextDecision`)


class DecisionFormat(Protocol):
    """The rules of one format. `chosen` are the ids chosen so far in this answer, in order."""

    @property
    def silence_draft(self) -> tuple[int, ...]:
        """The choices of a silent answer but the last: what may be put before the model in advance."""
        ...

    def allowed(self, num_chosen: int) -> frozenset[int] | None:
        """The ids the next choice is limited to; None: every id but structural ones, or the closing mark."""
        ...

    def next_input(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        """What goes into the model after the last of `chosen` and before the next choice; None: the answer is done."""
        ...

    def kept(self, chosen: Sequence[int]) -> tuple[int, ...]:
        """What a finished answer leaves in the prefix. Begins with all that `next_input` gave on the way."""
        ...

    def lead_after(self, chosen: Sequence[int]) -> Lead:
        """How the prefix ends after this answer."""
        ...


class TextDecision:
    """The answer is text up to the closing mark, and all of it stays. Silence is the text `silence_ids`."""

    def __init__(self, silence_ids: tuple[int, ...], closing_id: int) -> None:
        self.silence_draft = silence_ids[:-1]
        self._closing_id = closing_id

    def allowed(self, num_chosen: int) -> frozenset[int] | None:  # noqa: ARG002 - the rule is the same at every choice
        return None

    def next_input(self, chosen: Sequence[int]) -> tuple[int, ...] | None:
        return None if chosen[-1] == self._closing_id else (chosen[-1],)

    def kept(self, chosen: Sequence[int]) -> tuple[int, ...]:
        return tuple(chosen)

    def lead_after(self, chosen: Sequence[int]) -> Lead:  # noqa: ARG002
        return Lead.CLOSED
