"""The text of an lmms-eval request, taken apart: the question, its options, and how to answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

_OPTION = re.compile(r"\s*(\(?)([A-Z])([).:])\s*(\S.*?)\s*")
_HEADING = re.compile(r"\s*(options?|choices)\s*:?\s*", re.IGNORECASE)
# Lines that say in what form to answer. With retrieval, oncue says it itself, in another form.
_FORM = re.compile(
    r"\b(answer|respond|reply) (the question )?(directly )?(with|using)\b"
    r"|\bselect the best\b|\bchoose the (best|correct|right)\b|\bgive the best\b"
    r"|\bbest (answer|option) is\b|\b(option'?s? letter|letter of the)\b"
    r"|^\s*(the )?answer( is)?\s*:?\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parts:
    """`question`: all that is not options, their heading, or a line on the form of the answer.
    `options`: their texts, without letters."""

    question: str
    options: tuple[str, ...]


def taken_apart(context: str) -> Parts | None:
    """The parts of a question with options; None where there are none.

    Options are two lines or more that follow each other, empty lines aside, and begin with A, B,
    C, ... in order and all in one style: "A. red", "(A) red", "A) red" or "A: red". Of several such
    runs the last counts. An option of several lines is not known as one.
    """
    lines = context.splitlines()
    run = _last_run(lines)
    if run is None:
        return None
    first, end, options = run
    before, after = lines[:first], lines[end:]
    while before and (not before[-1].strip() or _HEADING.fullmatch(before[-1])):
        before.pop()
    kept = [line for line in (*before, *after) if not _FORM.search(line)]
    question = "\n".join(kept).strip()
    return Parts(question or "\n".join(before).strip() or "Which option is right?", options)


def _last_run(lines: Sequence[str]) -> tuple[int, int, tuple[str, ...]] | None:
    """Where the last run of options begins and ends, and what they say."""
    starts = [k for k, line in enumerate(lines) if _option(line, "A")]
    for first in reversed(starts):
        style, text = _option(lines[first], "A") or ("", "")
        texts, end = [text], first + 1
        for number in range(first + 1, len(lines)):
            if not lines[number].strip():
                continue
            due = ascii_uppercase[len(texts)] if len(texts) < len(ascii_uppercase) else ""
            found = _option(lines[number], due)
            if found is None or found[0] != style:
                break
            texts.append(found[1])
            end = number + 1
        if len(texts) > 1:
            return first, end, tuple(texts)
    return None


def _option(line: str, letter: str) -> tuple[str, str] | None:
    """The style of the letter and the text of an option; None for a line that is not option
    `letter`."""
    found = _OPTION.fullmatch(line)
    if found is None or found[2] != letter:
        return None
    return found[1] + found[3], found[4]
