"""What is wrong with a row: where, what, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FaultKind(enum.StrEnum):
    """What can be wrong with a row. `docs/pipeline_quality.md` says when each is found."""

    FORM = "form"
    EMPTY_SPAN = "empty_span"
    OVERLAPPING_SPANS = "overlapping_spans"
    OUTSIDE_VIDEO = "outside_video"
    EARLY_REPLY = "early_reply"
    LATE_QUESTION = "late_question"
    UNASKED_REPLY = "unasked_reply"
    SILENCE_TEXT = "silence_text"
    CHAT_MARK = "chat_mark"
    REPEATED_ID = "repeated_id"
    MISSING_VIDEO = "missing_video"
    CORRUPT_VIDEO = "corrupt_video"
    MISSING_PICTURE = "missing_picture"
    IMAGE_COUNT = "image_count"
    TOKEN_BUDGET = "token_budget"
    JUDGE_REFUSES = "judge_refuses"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a row. `said`: what is wrong, in a line; `remedy`: what to do. `turn`: the part of
    the row that has it, such as "gold 2" (from 1), "" for all of it."""

    kind: FaultKind
    said: str
    remedy: str
    turn: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a file. `number`: of its line, or of its place in an array, from 1."""

    file: str
    unit: str
    number: int
    row_id: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A finding and its row."""

    place: Place
    finding: Finding

    def line(self) -> str:
        """One line for people."""
        found, named = self.finding, f" ({self.place.row_id})" if self.place.row_id else ""
        where = f"{self.place}{named}" + (f", {found.turn}" if found.turn else "")
        return " ".join(f"{where}: {found.kind}: {found.said}; {found.remedy}".split())

    def plain(self) -> dict[str, object]:
        """The object of its JSON line."""
        return {
            "kind": self.finding.kind.value,
            "file": self.place.file,
            "row": self.place.number,
            "row_id": self.place.row_id,
            "turn": self.finding.turn,
            "said": self.finding.said,
            "remedy": self.finding.remedy,
        }
