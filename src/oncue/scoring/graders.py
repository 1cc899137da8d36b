"""Graders by name, as the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oncue.errors import ConfigError, shown_address
from oncue.scoring.grade_lines import PREFIX
from oncue.scoring.grader import GradeKey, Rubric, RunGrader
from oncue.scoring.judge import LexicalJudge
from oncue.scoring.judge_prompts import rubric_question
from oncue.scoring.judge_specs import server_of
from oncue.scoring.recorded_grades import ReplayGrader
from oncue.scoring.score import Unscored
from oncue.scoring.server_judge import JudgeOptions, ServerJudge
from oncue.types import TimedReply, TimeSpan

EXPECTED = (
    "expected lexical, openai:MODEL@URL such as openai:gpt-4.1@https://api.openai.com/v1, or "
    "replay:FILE"
)


class LexicalGrader:
    """Grades by shared content words, as `LexicalJudge`: free, and blind to meaning.

    On a scale of three steps its grades are those of the judge with marks up to 2; on others, the
    marks up to 4 are stretched or squeezed.
    """

    name = "lexical"
    knows_repetition = True

    def __init__(self) -> None:
        self._judges = {max_score: LexicalJudge(max_score) for max_score in (2, 4)}

    async def grade(
        self,
        rubric: Rubric,
        key: GradeKey,  # noqa: ARG002
        question: str,
        gold: str,
        said: str,
    ) -> int | Unscored:
        num_steps = rubric.highest - rubric.lowest
        judge = self._judges[2 if num_steps == 2 else 4]
        mark = await judge.coverage(question, gold, (said,))
        if isinstance(mark, Unscored):
            return mark
        return rubric.lowest + round(mark / judge.max_score * num_steps)

    async def repeats(
        self,
        key: GradeKey,  # noqa: ARG002
        previous: tuple[str, ...],
        new: str,
    ) -> bool | Unscored:
        return await self._judges[2].repeats(previous, new)

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        """Nothing was recorded."""

    def end(self) -> None:
        """Nothing can have failed."""

    def cost(self) -> str:
        return ""

    async def aclose(self) -> None:
        """There is no connection."""


class ServerGrader:
    """Grades by a language model on a server, with the retries, the kept answers and the budget of
    failures of `judge`."""

    knows_repetition = True

    def __init__(self, judge: ServerJudge) -> None:
        self._judge = judge

    @property
    def name(self) -> str:
        return self._judge.name

    async def grade(
        self,
        rubric: Rubric,
        key: GradeKey,  # noqa: ARG002
        question: str,
        gold: str,
        said: str,
    ) -> int | Unscored:
        return await self._judge.ask(rubric_question(rubric, question, gold, said))

    async def repeats(
        self,
        key: GradeKey,  # noqa: ARG002
        previous: tuple[str, ...],
        new: str,
    ) -> bool | Unscored:
        return await self._judge.repeats(previous, new)

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        """Nothing was recorded."""

    def end(self) -> None:
        self._judge.check_alive()

    def cost(self) -> str:
        return f"judge {self.name}: {self._judge.usage.line()}"

    async def aclose(self) -> None:
        await self._judge.aclose()


def make_grader(spec: str, options: JudgeOptions | None = None) -> RunGrader:
    """The grader that `spec` names: `lexical`, `openai:MODEL@URL` (a `ServerGrader`, asked as
    `options` say), or `replay:FILE` (what --record wrote).

    Raises ConfigError for another spec, and DataError for recorded judgements that break their
    format.
    """
    if spec == "lexical":
        return LexicalGrader()
    if spec.startswith(PREFIX):
        return ReplayGrader(Path(spec.removeprefix(PREFIX)))
    found = server_of(spec)
    if found is None:
        raise ConfigError(f"unknown judge {shown_address(spec)!r}; {EXPECTED}")
    model, url = found
    return ServerGrader(ServerJudge(url, model, options=options))
