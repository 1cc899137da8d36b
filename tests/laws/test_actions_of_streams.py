"""What scores or records a stream refuses actions of another task: they must not pass for
silence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oncue.clock import Clock
from oncue.rewards.proactive import Rollout
from oncue.scoring.metrics import Transcript
from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    Episode,
    Exchange,
    Malformed,
    PolicyTurn,
    Retrieve,
    Silence,
    StopReason,
    Task,
)
from oncue.watch.record import Recorder


def record(episode: Episode) -> None:
    recorder = Recorder((), Clock(1.0))
    for exchange in episode.exchanges:
        recorder.add(exchange)


@pytest.mark.parametrize(
    "reader", [Rollout.of, Transcript.of, record], ids=["reward", "metric", "recorder"]
)
@pytest.mark.parametrize("action", [Retrieve(1, 2), Answer("B")])
def test_an_action_of_another_task_is_refused(
    reader: Callable[[Episode], object], action: Action
) -> None:
    def episode(last: Action) -> Episode:
        acted = (Silence(), last)
        exchanges = tuple(
            Exchange(EnvTurn("", k + 1.0), PolicyTurn(a)) for k, a in enumerate(acted)
        )
        return Episode(Task("t"), exchanges, StopReason.SOURCE_ENDED)

    with pytest.raises(ValueError, match="as in a stream, got"):
        reader(episode(action))
    reader(episode(Malformed("?", "no action")))  # control: this one counts as silent
