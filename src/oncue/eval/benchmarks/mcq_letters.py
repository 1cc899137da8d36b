"""The option that an answer names which does not keep to the form of actions.

Scorers of public benchmarks search such texts for a letter. Where a text is not clear they take the
first letter, take the article "a" for an option, or draw one at random. Here it then names none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from oncue.data.choices import letters_of, option_text
from oncue.thoughts import behind_thoughts

_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_TAG = re.compile(r"</?\w+>")
_ALONE = re.compile(r"\(?([A-Za-z])\)?[.:,]?")
_BEFORE_TEXT = re.compile(r"\(?([A-Z])[.:)]\s+\S.*|\(([A-Z])\).*", re.DOTALL)
_AT_END = re.compile(r".*(?:\b|\()([A-Z])\)?[.!]?", re.DOTALL)
_STATED = re.compile(r"\b(?:answer|option|choice)\b(?:\s+is)?\s*:?\s*\(?([A-Z])\b", re.IGNORECASE)
_CAPITAL = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")


def named_letter(text: str, options: Sequence[str]) -> str | None:
    """The letter of the one option that `text` clearly names; None where it names none, or may name
    several.

    `options` in the form "A. ...". A thought and tags do not count. It is clear where the text is a
    letter, begins with one as options do, is the text of one option, or holds no other single
    capital and says "answer", "option" or "choice" before it, or ends with it.
    """
    said = behind_thoughts(text)
    if said is None:
        return None
    if found := _ANSWER.findall(said):
        said = found[-1]
    said, letters = _TAG.sub("", said).strip(), letters_of(options)
    if alone := _ALONE.fullmatch(said):
        letter = alone[1].upper()
        return letter if letter in letters else None
    texts = [option_text(option).casefold() for option in options]
    same = [
        x for x, each in zip(letters, texts, strict=True) if each == said.casefold().rstrip(".")
    ]
    if len(same) == 1:
        return same[0]
    if before := _BEFORE_TEXT.fullmatch(said):
        return _known(before[1] or before[2], letters)
    capitals = set(_CAPITAL.findall(said)) - {"I"}
    stated = {letter.upper() for letter in _STATED.findall(said)} & capitals
    ends = _AT_END.fullmatch(said)
    named = stated or ({ends[1]} if ends else set())
    if named != capitals or len(named) != 1:
        return None
    return _known(named.pop(), letters)


def _known(letter: str, letters: str) -> str | None:
    return letter if letter in letters else None
