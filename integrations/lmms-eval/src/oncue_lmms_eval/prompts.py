"""Questions of lmms-eval's tasks, taken apart: the question, its options, and what may be said of
the form of the answer, which is left out since oncue asks in its own form."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPTION = re.compile(r"^\s*(?:\(([A-Z])\)|([A-Z])[.):])\s*(\S.*?)\s*$")
_HEADING = re.compile(r"\n\s*options?\s*:\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """`options` as texts without their letters, in order from A on; empty for an open question."""

    question: str
    options: tuple[str, ...]


def read_prompt(context: str) -> Prompt:
    """The question and the options of the prompt of a task.

    An option begins a line with its letter ("A. red", "(A) red", "A) red" or "A: red"), and may go
    on in further lines, the last one apart. Of several lists from A on, the last one counts. The
    question is what comes before it. A prompt without two options is an open question, all of it.
    """
    lines = context.splitlines()
    found = [_OPTION.match(line) for line in lines]
    for start in (i for i in reversed(range(len(lines))) if _letter(found[i]) == "A"):
        question = _HEADING.sub("", "\n".join(lines[:start])).strip()
        options = _options(lines[start:], found[start:])
        if len(options) > 1 and question:
            return Prompt(question, options)
    return Prompt(context.strip(), ())


def _options(lines: list[str], found: list[re.Match[str] | None]) -> tuple[str, ...]:
    """The options from the first line on, which is A."""
    options: list[str] = []
    further: list[str] = []  # of the option before, if another one comes
    for line, match in zip(lines, found, strict=True):
        if match and _letter(match) == chr(ord("A") + len(options)):
            if options:
                options[-1] = " ".join([options[-1], *further])
            options.append(match[3])
            further = []
        elif line.strip():
            further.append(line.strip())
    return tuple(options)


def _letter(match: re.Match[str] | None) -> str:
    return (match[1] or match[2]) if match else ""
