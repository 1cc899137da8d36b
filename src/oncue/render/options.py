"""The options of a question and their letters: "A. red", "B. blue"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

LETTERS = ascii_uppercase  # a question has no more options than that
_LABELLED = re.compile(r"\s*\(?([A-Za-z])[).:]\s*(.*)", re.DOTALL)


def labelled(texts: Sequence[str]) -> tuple[str, ...]:
    """The options "A. ...", "B. ..." of these texts, in order."""
    return tuple(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))


def split_label(option: str) -> tuple[str, str]:
    """The letter, as a capital, and the text of "A. red", "(a) red", "A) red" or "A: red"; "" and
    all of `option` where it begins with no letter of this kind."""
    found = _LABELLED.fullmatch(option)
    return (found[1].upper(), found[2]) if found else ("", option)


def option_texts(options: Sequence[str]) -> tuple[str, ...]:
    """What the options say, without space around it. Where all of them begin with the letters of
    their places, A, B, C, ..., it is what follows these."""
    pairs = [split_label(option) for option in options]
    has_letters = [letter for letter, _ in pairs] == list(LETTERS[: len(options)])
    texts = [text for _, text in pairs] if has_letters else options
    return tuple(text.strip() for text in texts)
