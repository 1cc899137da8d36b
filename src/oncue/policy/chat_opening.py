"""What the first token of an answer says about the turn, and whether a message can begin with
it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

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


def biased_token(probs: Mapping[str, float], silence_text: str, reply_bias: float) -> str | None:
    """The first token of a turn once `reply_bias` is added to the log-odds of replying: those of
    the likeliest candidate that speaks against the likeliest that begins silence.

    `probs`: of the candidates by their text. None where they do not say: no candidate begins
    silence, or none that could begin a message speaks.
    """
    silent: dict[str, float] = {}
    speaking: dict[str, float] = {}
    for token, probability in probs.items():
        begins = opening(token, silence_text)
        if begins is Opening.SILENT:
            silent[token] = probability
        elif begins is Opening.SPEAKS and can_begin_message(token.strip()):
            speaking[token] = probability
    if not silent or not speaking:
        return None
    least = 1e-45  # of what a server rounds to 0
    odds = math.log(max(least, *speaking.values()) / max(least, *silent.values()))
    among = speaking if odds + reply_bias > 0 else silent
    return max(among, key=lambda token: among[token])
