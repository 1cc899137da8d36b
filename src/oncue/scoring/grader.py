"""Who says how good a reply is, on the scale that a benchmark asks for.

A grader is asked through coroutines, as a judge is. What it could not decide is an Unscored with
its reason, never a mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from oncue.scoring.score import Unscored


@dataclass(frozen=True, slots=True)
class Rubric:
    """A scale and what its steps mean: whole numbers from `lowest` to `highest`.

    `rules` is what a language model is given, without the form of the answer: who says what to
    whom, and what each step means.
    """

    name: str
    lowest: int
    highest: int
    rules: str


@dataclass(frozen=True, slots=True)
class GradeKey:
    """Which reply is meant, for recorded judgements: the item, the gold turn (from 0), the time of
    the reply in seconds."""

    item_id: str
    index: int
    time_s: float


class Grader(Protocol):
    """Grades replies. `name` is printed beside every number."""

    @property
    def name(self) -> str: ...

    async def grade(
        self, rubric: Rubric, key: GradeKey, question: str, gold: str, said: str
    ) -> int | Unscored:
        """The grade of `said`, which answers `question`, where `gold` was due."""
        ...

    async def repeats(
        self, key: GradeKey, previous: tuple[str, ...], new: str
    ) -> bool | Unscored | None:
        """Whether all that `new` says is in the `previous` replies. None: this grader never decides
        that (recorded judgements without a line on repetition)."""
        ...
