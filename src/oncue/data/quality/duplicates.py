"""Answers of a dialogue that say the same: exactly, or but for case, punctuation and articles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_ARTICLES = frozenset(("a", "an", "the"))


def normalised(text: str) -> str:
    """`text` as its words in lower case, without articles and punctuation, in one form of Unicode.
    A text without words stays as it is."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    return " ".join(word for word in words if word not in _ARTICLES) or text.strip()


def count_duplicates(answers: Sequence[str]) -> tuple[int, int]:
    """How many answers repeat an earlier one: exactly, and when both are normalised (the first
    count included)."""
    exact = {answer.strip() for answer in answers}
    near = {normalised(answer) for answer in answers}
    return len(answers) - len(exact), len(answers) - len(near)
