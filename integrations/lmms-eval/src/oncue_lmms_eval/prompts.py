"""Questions of lmms-eval's tasks, taken apart: the question, its options, and what may be said of
the form of the answer, which is left out since oncue asks in its own form."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPTION = re.compile(r"^\s*(?:\(([A-Z])\)|([A-Z])[.):])\s*(\S.*?)\s*$")


@dataclass(frozen=True)
class Prompt:
    """`options` as texts without their letters, in order from A on; empty for an open question."""

    question: str
    options: tuple[str, ...]


def read_prompt(context: str) -> Prompt:
    """The question and the options of the prompt of a task.

    Options are the last run of lines that begin with A, B, C, ... in order ("A. red", "(A) red",
    "A) red" or "A: red"). The question is what stands before them. A prompt without two options is
    an open question, all of it.
    """
    lines = context.splitlines()
    letters: list[str] = []
    for line in lines:
        found = _OPTION.match(line)
        letters.append((found[1] or found[2]) if found else "")
    for start in (i for i in reversed(range(len(lines))) if letters[i] == "A"):
        end = start + 1
        while end < len(lines) and letters[end] == chr(ord("A") + end - start):
            end += 1
        question = "\n".join(lines[:start]).strip()
        if end - start > 1 and question:
            options = (_OPTION.match(line) for line in lines[start:end])
            return Prompt(question, tuple(option[3] for option in options if option))
    return Prompt(context.strip(), ())
