"""Which questions are asked: the videos they are about must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_report import LeftOut
from oncue.eval.videos import choose_items


@dataclass(frozen=True, slots=True)
class Chosen:
    """The questions to be asked, in order, the paths of their videos by what they call them, and
    how many are left out because their videos are missing."""

    questions: tuple[McqQuestion, ...]
    paths: Mapping[str, Path]
    left_out: LeftOut


def choose(
    questions: Sequence[McqQuestion],
    folder: Path | None,
    *,
    limit: int | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> Chosen:
    """See `choose_items`."""
    chosen = choose_items(
        questions,
        lambda question: question.video,
        folder,
        limit=limit,
        seed=seed,
        allow_missing=allow_missing,
    )
    left_out = LeftOut(chosen.num_left_out, chosen.num_missing)
    return Chosen(chosen.items, chosen.paths, left_out)
