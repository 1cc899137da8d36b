"""Options of a question and the right one, in whatever form a file has them: as "A. ..." strings
and a letter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from oncue.errors import DataError
from oncue.fields import whole_text
from oncue.render.options import LETTERS, option_texts, split_label
from oncue.render.options import labelled as labelled

_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")
_ANSWER = "<answer>", "</answer>"


def letters_of(options: Sequence[str]) -> str:
    """The letters of these options: "ABCD" for four."""
    return LETTERS[: len(options)]


def option_text(option: str) -> str:
    """What an option in the form "A. ..." says."""
    return option[3:]


def check_options(options: Sequence[str]) -> None:
    """Raises DataError for what is no list of options in the form "A. ...": none at all is one."""
    texts = [option_text(option) for option in options]
    if len(options) == 1 or len(options) > len(LETTERS):
        raise DataError(f"'options' must be 2 to {len(LETTERS)}, or none, got {len(options)}")
    if tuple(options) != labelled(texts) or any(not t or t != t.strip() for t in texts):
        raise DataError(
            f"'options' must be texts with the letters A, B, C, ... in order, got {options!r:.200}"
        )


def read_options(value: Any, where: str) -> tuple[str, ...]:
    """The options that `value` holds: a list of "A. x", "(A) x", "A) x", "A: x" or plain texts, or
    an object from letter to text. Empty for None and for an empty list.

    Texts count as labelled where all of them are, with the letters in order. Raises DataError.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = [f"{str(letter).strip()}. {text}" for letter, text in sorted(value.items())]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(
            f"{where}: 'options' must be a list of texts, or an object from letter to text, got "
            f"{value!r:.80}"
        )
    texts = [whole_text(text, f"{where}: 'options'") for text in value]
    letters = [split_label(text)[0] for text in texts]
    in_place = [letter == due for letter, due in zip(letters, LETTERS, strict=False)]
    if letters and not all(in_place) and (all(letters) or any(in_place)):
        raise DataError(
            f"{where}: the letters of 'options' must be A, B, C, ... in order, or none, got "
            f"{', '.join(letter or 'none' for letter in letters)}; correct them"
        )
    try:
        options = labelled(option_texts(texts[: len(LETTERS)]))
        check_options(options if len(options) == len(texts) else texts)
    except DataError as error:
        raise DataError(f"{where}: {error}; correct the options") from error
    return options


def read_answer(value: Any, options: Sequence[str], where: str, name: str) -> str:
    """The right answer that the field `name` holds: with `options` the letter of one, else text.

    Written as "B", "(b)", "B. text", or the text of an option; with or without <answer> marks. A
    number is read as its text. Raises DataError.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    said = _unmarked(value) if isinstance(value, str) else ""
    if not said:
        raise DataError(
            f"{where}: {name!r} must be the answer, such as <answer>B</answer>, got {value!r:.80}"
        )
    whole_text(said, f"{where}: {name!r}")
    if not options:
        return said
    letter = _letter_of(said, options)
    if not letter:
        raise DataError(
            f"{where}: {name!r} must be one of the letters {', '.join(letters_of(options))}, or "
            f"the text of one option, got {value!r:.80}; correct the answer or the options"
        )
    return letter


def marked_answer(answer: str) -> str:
    """`answer` as rows in the style of Video-R1 have it."""
    return answer.join(_ANSWER)


def _unmarked(text: str) -> str:
    """The text within the marks of an answer; all of it where there are none."""
    opening, closing = _ANSWER
    _, opened, behind = text.partition(opening)
    within, closed, _ = behind.rpartition(closing)
    return (within if opened and closed else text).strip()


def _letter_of(said: str, options: Sequence[str]) -> str:
    """The letter that is meant, "" where that is not clear."""
    letters = letters_of(options)
    if (found := _LETTER.fullmatch(said)) and found[1].upper() in letters:
        return found[1].upper()
    texts = [option_text(option).casefold() for option in options]
    stated, text = split_label(said)
    if stated in tuple(letters) and texts[letters.index(stated)] == text.strip().casefold():
        return stated
    meant = [letter for letter, text in zip(letters, texts, strict=True) if text == said.casefold()]
    return meant[0] if len(meant) == 1 else ""
