"""The judge of made-up clips: their grammar is known, so marks are exact and cost nothing."""

from __future__ import annotations

from oncue.reward.judge import ExactJudge
from oncue.world.questions import exact_level


def world_judge() -> ExactJudge:
    """Marks 2 for the gold sentence, 1 for the right event with one detail wrong, 0 else; only equal text repeats."""
    return ExactJudge(exact_level, name="exact")
