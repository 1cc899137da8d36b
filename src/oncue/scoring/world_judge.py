"""The judge of made-up clips: their grammar is known, so marks are exact and cost nothing."""

from __future__ import annotations

from oncue.errors import ConfigError
from oncue.scoring.judge import ExactJudge
from oncue.world.questions import exact_level


def world_judge(max_score: int = 2) -> ExactJudge:
    """Marks 2 for the gold sentence, 1 for the right event with one detail wrong, 0 else; only
    equal text repeats.

    With `max_score` 4 (the training reward) these marks are doubled: 4, 2 and 0. Raises ConfigError
    for another.
    """
    if max_score not in (2, 4):
        raise ConfigError(
            f"the exact judge gives marks up to 2 or up to 4, got max_score {max_score}"
        )
    factor = max_score // 2
    return ExactJudge(
        lambda gold, reply: factor * exact_level(gold, reply), max_score, name="exact"
    )
