"""Whether a reply means what is due in SPOT-Bench: by keywords in two tasks, by a judge in four."""

from __future__ import annotations

import re

from oncue.scoring.grader import Rubric

BOUNDARY, POINT = "ABD", "PNR"
KEYWORD_TASKS = (BOUNDARY, POINT)
_START = re.compile(r"\b(?:start|begin|onset|commence)\w*")
_END = re.compile(r"\b(?:end|finish|stop|complete|conclude|done)\w*")
_SILENT = {"no", "none", "nothing", "no answer", "no response", "no reply"}
_CANDIDATES = " Where the reference has two candidates with a semicolon between, the better counts."


def _rubric(name: str, rules: str) -> Rubric:
    steps = (
        " 5: the same. 4: the same in other words. 3: partly right, but good enough. 2: a weak "
        "match that is still of use. 1: hardly related. 0: wrong or unrelated."
    )
    return Rubric(f"spot-{name}", 0, 5, rules + steps + _CANDIDATES)


# Whether a reply means what is due, and the grade from which on it does.
MEANINGS = {
    "SQA": (_rubric("sqa", "Compare an answer about a video with the reference, by meaning."), 3),
    "SPG": (
        _rubric("spg", "Compare the next step that an assistant names with the right one."),
        3,
    ),
    "SI": (
        _rubric(
            "si",
            "Compare a hint for someone who made a mistake or hesitates with the one that was due: "
            "does it lead to the same correction or step?",
        ),
        2,
    ),
    "UI": (
        _rubric(
            "ui",
            "Compare a warning or direction for a blind person with the one that was due: is it "
            "about the same risk or obstacle?",
        ),
        2,
    ),
}


def plain(text: str) -> str:
    """`text` in lower case, without marks around it, as its words are looked for."""
    lower = re.sub(r"[\"“”]", "", text.strip().lower().replace("**", ""))
    return re.sub(r"\s+", " ", lower.strip(".,!?[];:*"))


def is_silent(text: str) -> bool:
    """Whether a reply says that there is nothing to say."""
    return plain(text) in _SILENT


def mentions_start(text: str) -> bool:
    return bool(_START.search(plain(text)))


def mentions_end(text: str) -> bool:
    return bool(_END.search(plain(text)))


def is_detected(task: str, wanted: str, said: str) -> bool:
    """Whether a reply names the point, or the boundary that is due and not the other one too."""
    if task == POINT:
        return bool(re.search(r"\bnow\b", plain(said)))
    starts, ends = mentions_start(said), mentions_end(said)
    if starts and ends:
        return False
    if mentions_start(wanted):
        return starts
    return ends if mentions_end(wanted) else plain(said) == plain(wanted)
