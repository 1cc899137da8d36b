"""Filters that ask a model on a server."""

from __future__ import annotations

from functools import partial

from oncue.data.quality.blind import BlindModel, answerable
from oncue.data.quality.filters import Filter
from oncue.data.quality.gold_judging import close
from oncue.data.quality.leaks import leaking_by_model
from oncue.scoring.judge import Judge
from oncue.scoring.server_judge import ServerJudge


def leak_filter(model: ServerJudge) -> Filter:
    """Leaves out rows with an answer in which `model` finds what cannot be seen yet."""
    return Filter("leak", partial(leaking_by_model, model=model), model.aclose)


def blind_filter(model: BlindModel, judge: Judge) -> Filter:
    """Leaves out rows with a question that `model` answers without the video, as `judge` says."""

    async def aclose() -> None:
        await model.aclose()
        await close(judge)

    return Filter("blind", partial(answerable, model=model, judge=judge), aclose)
