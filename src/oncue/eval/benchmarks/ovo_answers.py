"""Which responses OVO-Bench calls right: the official rules, and strict ones beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from oncue.eval.benchmarks.mcq_letters import named_letter

_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_YES_NO = re.compile(r"\b(?:yes|no|y|n)\b", re.IGNORECASE)
_INITIAL = {"Yes": "Y", "No": "N"}


def is_official(task: str, text: str, gold: str) -> bool:
    """As utils/OVOBenchScore.py: all digits of the response together (REC), the bare initial or the
    word anywhere (SSR, CRR), the letter anywhere (options). Letter case counts."""
    if task == "REC":
        return "".join(_DIGITS.findall(text)) == gold
    return text == _INITIAL.get(gold) or gold in text


def is_strict(task: str, text: str, gold: str, options: Sequence[str] = ()) -> bool:
    """Whether the response clearly says the gold: its only number (REC), its only yes or no (SSR,
    CRR), the one option that it names. Letter case does not count."""
    if options:
        return named_letter(text, options) == gold
    if task == "REC":
        numbers = _NUMBER.findall(text)
        return len(numbers) == 1 and numbers[0].isdigit() and int(numbers[0]) == int(gold)
    return {word[0].upper() for word in _YES_NO.findall(text)} == {gold[0]}
