"""Whether an answer to a question is right: an option, a number, or words.

The released code of Video-MTR checks the form of a letter without regard to case, and then compares
it with regard to case, so that `b` is valid and always wrong. Here both checks see the same text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from oncue.render.options import LETTERS, option_texts, split_label
from oncue.scoring.score import Unscored

_LETTER = re.compile(r"\(?([A-Z])[.):]?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)")


def is_well_formed(said: str, gold: str | None, options: Sequence[str] = ()) -> bool:
    """Whether `said` has the form of an answer: it names one of `options`; without options it is a
    number where `gold` is one, and else holds anything. How long it may be is up to the grammar."""
    if options:
        return bool(named_options(said, options))
    if gold is not None and _number(gold) is not None:
        return _number(said) is not None
    return bool(said.strip())


def is_right(
    said: str, gold: str | None, options: Sequence[str] = (), *, same_decimals: bool = False
) -> bool | Unscored:
    """Whether `said` is the right answer; Unscored where that cannot be known.

    With `options`, `said` and `gold` each name one by its letter or by its text. Letters go from A
    to Z by place, whether the options state them (`A. red`, `(B) blue`) or not. A letter of an
    option comes before a text that is a letter. Without options, two numbers are equal when they
    agree after rounding to 2 digits. `1,500` is a number of thousands, and `1,5` has a decimal
    comma. Other texts are equal when they agree without case, spacing, quotes and end marks.

    `same_decimals`: a number is also wrong where exactly one of the two has a `.` or `,`, so that
    `3.0` is no 3 (the released code of Video-MTR).
    """
    if gold is None or not gold.strip():
        return Unscored("the right answer is not known")
    if options:
        right = named_options(gold, options)
        if not right:
            return Unscored(
                f"the right answer {gold!r:.80} is none of the {len(options)} options; give the "
                "letter or the text of one"
            )
        return bool(right & named_options(said, options))
    number = _number(gold)
    if number is not None:
        other = _number(said)
        if other is None or (same_decimals and _has_mark(said) != _has_mark(gold)):
            return False
        return round(number, 2) == round(other, 2)
    return _bare(said) == _bare(gold)


def named_options(said: str, options: Sequence[str]) -> set[int]:
    """The places of the options that `said` names by letter or text; more than one where options
    have the same text."""
    labelled = _labelled(options)
    letter = _LETTER.fullmatch(_folded(said).upper())
    if letter and (found := {i for i, (label, _) in enumerate(labelled) if label == letter[1]}):
        return found
    bare = _bare(said)
    found = {i for i, (_, text) in enumerate(labelled) if bare and bare == _bare(text)}
    stated, rest = split_label(said)
    if not found and stated and rest.strip():
        wanted = (stated, _bare(rest))
        found = {i for i, (label, text) in enumerate(labelled) if (label, _bare(text)) == wanted}
    return found


def _labelled(options: Sequence[str]) -> list[tuple[str, str]]:
    """The letter of each option, "" beyond Z, and its text without that letter."""
    letters = LETTERS[: len(options)]
    return list(zip_longest(letters, option_texts(options), fillvalue=""))


def _number(text: str) -> float | None:
    """The number that `text` is; None for words, and for numbers without end."""
    plain = _bare(text)
    if _GROUPED.fullmatch(plain):
        value = float(plain.replace(",", ""))
    elif _PLAIN.fullmatch(plain):
        value = float(plain.replace(",", "."))
    else:
        return None
    return value if math.isfinite(value) else None


def _has_mark(text: str) -> bool:
    return any(mark in _bare(text) for mark in ".,")


def _folded(text: str) -> str:
    """`text` without case, and with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bare(text: str) -> str:
    """`text` without case, quotes around it and marks at its end; marks alone stay."""
    folded = _folded(text)
    return folded.strip("\"'`*").rstrip(".!?,;: ") or folded
