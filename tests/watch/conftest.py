"""A watching made by hand: a source of plain frames, a scripted policy, no video file and no
weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from watch_support import ShadesSource

from oncue.clock import Clock
from oncue.policy.scripted import ScriptedPolicy
from oncue.types import Question
from oncue.watch.record import KeptFrames, Recorder, Watched
from oncue.watch.run import watch_source

WatchFunction = Callable[..., Watched]


@pytest.fixture
def watch() -> WatchFunction:
    """watch(replies_by_time_s, questions, num_frames) -> Watched"""

    def run(
        replies_by_time_s: Mapping[float, str],
        questions: Sequence[Question] = (),
        num_frames: int = 20,
    ) -> Watched:
        recorder = Recorder(questions or [Question("What?")], Clock(1.0), KeptFrames(max_film=8))
        stop = watch_source(ShadesSource(num_frames), ScriptedPolicy(replies_by_time_s), recorder)
        return recorder.finish(
            source="clip.mp4", model="scripted", video_s=None, load_s=0.0, stop=stop.value
        )

    return run
