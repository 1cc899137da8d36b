"""Graders by name, as the command line gives them."""

from __future__ import annotations

from oncue.errors import ConfigError
from oncue.scoring.grader import GradeKey, Grader, Rubric
from oncue.scoring.judge import LexicalJudge
from oncue.scoring.score import Unscored


class LexicalGrader:
    """Grades by shared content words, as `LexicalJudge`: free, and blind to meaning."""

    name = "lexical"

    def __init__(self) -> None:
        self._judge = LexicalJudge(4)

    async def grade(
        self,
        rubric: Rubric,
        key: GradeKey,  # noqa: ARG002
        question: str,
        gold: str,
        said: str,
    ) -> int | Unscored:
        mark = await self._judge.coverage(question, gold, (said,))
        if isinstance(mark, Unscored):
            return mark
        return rubric.lowest + round(mark / 4 * (rubric.highest - rubric.lowest))

    async def repeats(
        self,
        key: GradeKey,  # noqa: ARG002
        previous: tuple[str, ...],
        new: str,
    ) -> bool | Unscored | None:
        return await self._judge.repeats(previous, new)


def make_grader(spec: str) -> Grader:
    """The grader that `spec` names. Raises ConfigError for another one."""
    if spec == "lexical":
        return LexicalGrader()
    raise ConfigError(f"unknown judge {spec!r}; expected lexical")
