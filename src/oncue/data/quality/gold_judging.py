"""Whether a judge gives the gold replies of a row full marks: one that does not would teach and
measure by a wrong scale."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oncue.data.proactive_rows import ProactiveRow
from oncue.data.quality.faults import FaultKind, Finding
from oncue.scoring.judge import Judge
from oncue.scoring.score import Unscored
from oncue.scoring.server_judge import ServerJudge
from oncue.types import GoldTurn


async def judged(rows: Sequence[ProactiveRow], judge: Judge) -> list[list[Finding]]:
    """For each row what `judge` makes of its gold replies. Raises JudgeDownError where too many
    answers of a server fail."""
    try:
        return list(await asyncio.gather(*(_of_row(row, judge) for row in rows)))
    finally:
        await close(judge)


async def close(judge: Judge) -> None:
    """Ends the connections of a judge on a server."""
    if isinstance(judge, ServerJudge):
        await judge.aclose()


async def _of_row(row: ProactiveRow, judge: Judge) -> list[Finding]:
    task = row.task
    found = await asyncio.gather(
        *(
            _of_gold(gold, gold.question or task.questions[0].text, judge, f"gold {number}")
            for number, gold in enumerate(task.gold, 1)
        )
    )
    return [finding for finding in found if finding is not None]


async def _of_gold(gold: GoldTurn, question: str, judge: Judge, turn: str) -> Finding | None:
    mark = await judge.coverage(question, gold.content, (gold.content,))
    if isinstance(mark, Unscored):
        said = f"the judge gave its own text no mark ({mark.reason})"
        remedy = "check once more; where it stays so, write the reply in words"
        return Finding(FaultKind.NOT_JUDGED, said, remedy, turn)
    if mark < judge.max_score:
        said = f"the judge gives its own text {mark} of {judge.max_score}: {gold.content!r:.80}"
        remedy = "write a reply that answers its question, or take another judge"
        return Finding(FaultKind.JUDGE_REFUSES, said, remedy, turn)
    return None
