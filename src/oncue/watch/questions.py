"""The grammar of `--ask`: a question, or a time and a question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from oncue.errors import InputError
from oncue.types import Question

_TIMED = re.compile(
    r"\s*(?P<minus>-)?(?P<time>\d+(?::\d{1,2}){0,2}(?:\.\d+)?|\.\d+)\s*s?\s*:(?!\d)\s*(?P<text>.*)",
    re.DOTALL,
)
_LIKE_TIMED = re.compile(
    r"\s*(?P<time>[-+\u2212]?(?=[.,:]*\d)[\d.,:]+(?:e[-+]?\d+)?)\s*s?\s*:(?!\d)", re.IGNORECASE
)
_EXAMPLE = (
    'for example --ask "Tell me whenever someone comes in." or --ask "12.5: What is on the table?"'
)


def parse_question(written: str) -> Question:
    """`TEXT` is asked at 0 s; `SECONDS: TEXT`, `MM:SS: TEXT` and `HH:MM:SS: TEXT` at that video
    time.

    Whatever starts with a number and a colon is read as a time, so "3: things to look for" asks at
    3 s; write "0: 3: things to look for" to keep such a text whole. A clock inside a sentence
    ("10:30 is shown") is text.

    Raises: InputError: no text, a negative time, seconds or minutes above 59 behind a colon, or
        another number with a
            colon in front ("1,5: TEXT").
    """
    timed, like_timed = _TIMED.fullmatch(written), _LIKE_TIMED.match(written)
    if like_timed and not timed:
        raise InputError(
            f"the question {written!r} begins with {like_timed['time']!r}, which is no time; write "
            "seconds (12.5: ...) "
            "or MM:SS (1:30: ...), or '0: ' before a text that begins so"
        )
    text, time_s = (
        (timed["text"].strip(), _seconds(timed["time"], written))
        if timed
        else (written.strip(), 0.0)
    )
    if timed and timed["minus"]:
        raise InputError(f"the question {written!r} has a negative time; video time starts at 0 s")
    if not text:
        raise InputError(f"the question {written!r} has no text; write one, {_EXAMPLE}")
    return Question(text, time_s)


def parse_questions(written: Sequence[str]) -> tuple[Question, ...]:
    """All questions, in order of time. Raises InputError where there is none: nobody can know what
    to speak about."""
    if not written:
        raise InputError(
            f"no question was given: the model speaks about what you ask; add one, {_EXAMPLE}"
        )
    return tuple(sorted((parse_question(text) for text in written), key=lambda q: q.time_s))


def check_untimed(written: str) -> None:
    """Raises InputError for a text that begins with a time, or with what looks like one."""
    if timed := _TIMED.fullmatch(written) or _LIKE_TIMED.match(written):
        raise InputError(
            f"the question {written!r} begins with the time {timed['time']!r}; leave it out here"
        )


def _seconds(written: str, whole: str) -> float:
    parts = [float(part) for part in written.split(":")]
    if any(part >= 60 for part in parts[1:]):
        raise InputError(
            f"the time {written!r} in {whole!r} is no time; write seconds (90: ...) or MM:SS "
            "(1:30: ...)"
        )
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds
