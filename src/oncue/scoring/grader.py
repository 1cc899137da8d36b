"""Who says how good a reply is, on the scale that a benchmark asks for.

A grader is asked through coroutines, as a judge is. What it could not decide is an Unscored with
its reason, never a mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oncue.scoring.score import Unscored
from oncue.types import TimedReply, TimeSpan


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
    """Which reply is meant, for recorded judgements: the item, the gold turn (from 0; None: the
    whole dialogue), the time of the reply in seconds."""

    item_id: str
    index: int | None
    time_s: float


class Grader(Protocol):
    """Grades replies. `name` is printed beside every number."""

    @property
    def name(self) -> str: ...

    @property
    def knows_repetition(self) -> bool:
        """Whether `repeats` ever decides: recorded judgements may have no line on repetition."""
        ...

    async def grade(
        self, rubric: Rubric, key: GradeKey, question: str, gold: str, said: str
    ) -> int | Unscored:
        """The grade of `said`, which answers `question`, where `gold` was due."""
        ...

    async def repeats(self, key: GradeKey, previous: tuple[str, ...], new: str) -> bool | Unscored:
        """Whether all that `new` says is in the `previous` replies."""
        ...


class RunGrader(Grader, Protocol):
    """A grader from the first item of a file of predictions to the last."""

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        """The item is scored. `due`: the spans of its gold turns; `replies`: all that was said.
        Raises DataError for a recorded judgement that fits none of the replies."""
        ...

    def end(self) -> None:
        """All items are scored. Raises DataError for recorded judgements of other items, and
        JudgeDownError where too many answers failed."""
        ...

    def cost(self) -> str:
        """What grading took, in a line for people; "" where it is free."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
