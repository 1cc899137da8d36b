"""How InteractionBench reads replies without a judge: options, numbers, shared words.

The rules are those of the official scorer, faults included; `strict_letter` is ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

LETTERS = "ABCDEF"
_NUM_LETTER_CHARACTERS = 40  # of a longer reply, its beginning is searched for a letter
_LEAST_OVERLAP = 0.5  # token F1 from which a reply names an option by its text
_LONGEST_NUMERIC = 3  # words of a gold answer that a number may decide
_ARTICLES = {"a", "an", "the"}
_WORD = re.compile(r"[a-z0-9]+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

LetterRule = Callable[[str, str], str | None]  # the letter that a text names, of those possible


def words_of(text: str) -> list[str]:
    """The words of `text` in lower case, without articles and marks."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return [word for word in _WORD.findall(plain) if word not in _ARTICLES]


def last_number(text: str) -> float | None:
    """The last number in `text`, whatever it counts; None where there is none."""
    found = _NUMBER.findall(text.replace(",", ""))
    return float(found[-1]) if found else None


def token_f1(gold: str, said: str) -> float:
    """F1 of the words that both share, 0 to 1."""
    wanted, words = words_of(gold), words_of(said)
    num_shared = sum((Counter(wanted) & Counter(words)).values())
    return 2 * num_shared / (len(wanted) + len(words)) if num_shared else 0.0


def overlap(gold: str, said: str) -> float:
    """How well `said` fits `gold` without a judge, 0 to 1: equal words, shared words, or, for a
    short answer around a number, the same number and all its other words."""
    wanted, words = words_of(gold), words_of(said)
    if gold and wanted == words:
        return 1.0
    number, others = last_number(gold), [w for w in wanted if not _NUMBER.fullmatch(w)]
    if (
        number is not None
        and number == last_number(said)
        and len(wanted) <= _LONGEST_NUMERIC
        and set(others) <= set(words)
    ):
        return 1.0
    return token_f1(gold, said)


def official_letter(text: str, letters: str) -> str | None:
    """The first lone letter of an option. A lower-case "a" is one, so the article
    "a" is option A."""
    either = letters + letters.lower()
    found = re.search(rf"(?:^|[^a-z0-9])([{either}])(?:[^a-z0-9]|$)", text[:_NUM_LETTER_CHARACTERS])
    return found[1].upper() if found else None


def strict_letter(text: str, letters: str) -> str | None:
    """A letter that can be nothing but an option: it is all that is said, in brackets, followed by
    a mark at the beginning, or named as the answer."""
    one = f"([{letters}])"
    for pattern in (
        rf"^\W*{one}\W*$",
        rf"\({one}\)",
        rf"^\s*{one}[).:]",
        rf"\b(?:answer|option|choice)(?:\s+is)?\s*:?\s*{one}(?![\w'])(?!\s+\w)",
    ):
        if found := re.search(pattern, text[:_NUM_LETTER_CHARACTERS], re.IGNORECASE):
            return found[1].upper()
    return None


def chosen_option(text: str, options: Sequence[str], rule: LetterRule) -> int | None:
    """The number (from 0) of the option that a reply chooses, by letter or by its text; None where
    it chooses none, or more than one."""
    said = text.strip()
    if letter := rule(said, LETTERS[: len(options)]):
        return LETTERS.index(letter)
    fits = [token_f1(option, said) for option in options]
    best = max(range(len(options)), key=fits.__getitem__)
    if fits[best] >= _LEAST_OVERLAP and fits.count(fits[best]) == 1:
        return best
    plain = " ".join(words_of(said))
    held = [
        n for n, option in enumerate(options) if (w := " ".join(words_of(option))) and w in plain
    ]
    return held[0] if len(held) == 1 else None
