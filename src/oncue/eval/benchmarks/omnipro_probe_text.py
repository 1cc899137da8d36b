"""How the answers to probes of OmniPro are read: yes or no, numbers, states, letters, regions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from oncue.eval.benchmarks.omnipro_items import REGIONS

_CLOCKS = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b[.,]?|\b\d{1,2}:(?=\D|$)")
_COUNTS = (
    r"total\s+of\s+(\d+)",
    r"\b(\d+)\s+times?\b",
    r"(?:answer|count|total|number)\s*(?:is|:|=)\s*(\d+)",
    r"(?:reply|response)\s*(?:is|:)\s*['\"]?(\d+)",
    r":\s*(\d+)\s*[.)]?\s*$",
)
_CHOICES = (
    r"\(([A-Z])\)",
    r"answer\s*(?:is|:)\s*([A-Za-z])\b",
    r"\b(?:option|choice|select)\s+([A-Za-z])\b",
    r"response\s*(?:is|:)\s*([A-Za-z])\b",
    r"^\s*([A-Za-z])\s*[:.)]",
)
_POINTED = r"(?:option|choice|answer|[().])\s*$"  # what makes a lone A or I a choice


def says_yes(text: str) -> bool:
    """Whether yes is the first of yes and no."""
    found = re.search(r"\b(yes|no)\b", text, re.IGNORECASE)
    return found is not None and found[1].lower() == "yes"


def count_said(text: str) -> int | None:
    """The number that is said to be the count, clock times left out; else the last number."""
    if whole := re.match(r"^\s*(\d+)\s*[.)]?\s*$", text):
        return int(whole[1])
    rest = _CLOCKS.sub(" ", text.strip())
    for pattern in _COUNTS:
        if found := re.search(pattern, rest, re.IGNORECASE):
            return int(found[1])
    numbers = re.findall(r"\d+", rest)
    return int(numbers[-1]) if numbers else None


def state_said(text: str, states: Sequence[str]) -> str | None:
    """The state that is said, or else the longest that occurs in the text."""
    plain = text.lower().strip(' \n\t".,;:!?')
    if whole := next((state for state in states if state.lower() == plain), None):
        return whole
    longest = sorted(states, key=len, reverse=True)
    return next((state for state in longest if state.lower() in plain), None)


def choice_said(text: str) -> str | None:
    """The letter that is chosen."""
    if whole := re.match(r"^\s*\(?([A-Z])\)?[\s.):,;!?]*$", text):
        return whole[1]
    for pattern in _CHOICES:
        if found := re.search(pattern, text, 0 if pattern is _CHOICES[0] else re.IGNORECASE):
            return found[1].upper()
    for alone in re.finditer(r"\b([A-Z])\b", text):
        before = text[max(0, alone.start() - 6) : alone.start()]
        if alone[1] not in ("A", "I") or re.search(_POINTED, before, re.IGNORECASE):
            return alone[1]
    return None


def position_said(text: str) -> str | None:
    """The region after "position", or else the longest name of a region in the text."""
    lower = text.lower()
    named = re.search(r"position\s*[:\-]?\s*([a-z\-]+)", lower)
    if named and named[1] in REGIONS:
        return named[1]
    return next(
        (region for region in sorted(REGIONS, key=len, reverse=True) if region in lower), None
    )


def first_count_said(text: str) -> int | None:
    """The first number, clock times left out."""
    found = re.search(r"\d+", _CLOCKS.sub(" ", text))
    return int(found[0]) if found else None
