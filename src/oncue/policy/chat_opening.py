"""What the first token of an answer says about the turn, and whether a message can begin with
it."""

from __future__ import annotations

import enum

from oncue.thoughts import OPENING


class Opening(enum.Enum):
    """What the first token of a turn says about it."""

    SILENT = "silent"  # it is the first word of silence, or more of it
    SPEAKS = "speaks"
    EITHER = "either"  # it is less than that word: both may follow
    THINKS = "thinks"  # it is the mark before a thought, or its beginning: the answer comes later


def opening(token: str, silence_text: str) -> Opening:
    """How a turn goes on whose first token has the text `token`: for NO REPLY, `NO` is silent, `N`
    may be either."""
    begun = token.lstrip()
    if begun and (begun.startswith(OPENING) or OPENING.startswith(begun)):
        return Opening.THINKS
    if not begun or not silence_text.startswith(begun):
        return Opening.SPEAKS
    return Opening.SILENT if len(begun) >= len(silence_text.split()[0]) else Opening.EITHER


def can_begin_message(text: str) -> bool:
    """Whether `text` survives being the beginning of a message: templates strip those, and half a
    character is none."""
    return bool(text) and text == text.strip() and "\ufffd" not in text
