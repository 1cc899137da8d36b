"""Watching: what is recorded, what is kept, and how it is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from watch_support import ShadesSource

from oncue.clock import Clock
from oncue.errors import VideoError
from oncue.policy.scripted import ScriptedPolicy
from oncue.stopping import Stopper
from oncue.types import (
    EnvTurn,
    Exchange,
    FrameBatch,
    Malformed,
    PolicyTurn,
    Question,
    Reply,
    Silence,
    StopReason,
)
from oncue.watch.record import KeptFrames, Recorder
from oncue.watch.run import WatchEvents, watch_source


def exchange(clock_s: float, action=None, latency_ms: float = 1.0) -> Exchange:
    frames = FrameBatch(np.zeros((1, 8, 8, 3), np.uint8), np.array([clock_s]))
    return Exchange(
        EnvTurn(frames, clock_s), PolicyTurn(action or Silence(), latency_ms=latency_ms)
    )


def test_the_question_of_a_reply_is_the_newest_one_delivered(watch) -> None:
    questions = [Question("late", 7.5), Question("early"), Question("middle", 4.0)]
    watched = watch({3.0: "a", 4.0: "b", 7.0: "c", 8.0: "d"}, questions)
    assert [r.question for r in watched.replies] == ["early", "middle", "middle", "late"]


def test_questions_asked_together_are_one_as_they_were_shown(watch) -> None:
    questions = [
        Question("A?"),
        Question("B?"),
        Question("C?", 6.2),
        Question("D?", 6.9),
        Question("E?", 19.0),
    ]
    watched = watch({3.0: "a", 7.0: "b"}, questions, num_frames=8)
    assert [r.question for r in watched.replies] == ["A?\nB?", "C?\nD?"]
    assert watched.questions == (Question("A?\nB?"), Question("C?\nD?", 6.2), Question("E?", 19.0))


def test_the_number_of_tokens_is_told_where_it_is_known() -> None:
    recorder = Recorder([Question("Q")], Clock(1.0))
    turns = (
        PolicyTurn(Reply("r"), token_ids=(5, 6)),
        PolicyTurn(Reply("r")),
    )  # the second as from behind a server
    frames = FrameBatch(np.zeros((1, 8, 8, 3), np.uint8), np.array([1.0]))
    replies = [
        recorder.add(Exchange(EnvTurn(frames, k + 1.0), turn)) for k, turn in enumerate(turns)
    ]
    assert [reply.as_json()["num_tokens"] for reply in replies if reply] == [2, None]


def test_counts_latencies_and_unreadable_turns() -> None:
    recorder = Recorder([Question("Q")], Clock(1.0))
    for turn in (
        exchange(1.0),
        exchange(2.0, Reply("r"), 9.0),
        exchange(3.0, Malformed("??", "no grammar")),
    ):
        recorder.add(turn)
    watched = recorder.finish(source="s", model="m", video_s=2.6, load_s=0.0, stop="source_ended")
    summary = watched.summary
    assert (summary.num_turns, summary.num_silent, summary.num_replies, summary.num_malformed) == (
        3,
        1,
        1,
        1,
    )
    assert (
        summary.duration_s == 2.6
    )  # the last turn reaches past the end of the video; what was watched does not
    assert summary.latency_ms_p50 == 1.0
    assert watched.malformed == ((3.0, "no grammar: '??'"),)


@pytest.mark.parametrize(
    ("declared_s", "watched_s"), [(None, 3.0), (9.0, 3.0), (2.2, 2.2), (1.5, 3.0)]
)
def test_a_declared_length_is_believed_up_to_a_turn(
    declared_s: float | None, watched_s: float
) -> None:
    """Stopped early; ended within its last turn; one of two recordings that were joined."""
    recorder = Recorder([Question("Q")], Clock(1.0))
    for k in range(3):
        recorder.add(exchange(k + 1.0))
    watched = recorder.finish(
        source="s", model="m", video_s=declared_s, load_s=0.0, stop="source_ended"
    )
    assert watched.summary.duration_s == watched_s


def test_kept_frames_are_bounded_and_spread_over_the_video() -> None:
    kept = KeptFrames(max_film=8, max_evidence=3)
    frame = np.zeros((720, 1280, 3), np.uint8)
    for second in range(1, 101):
        kept.see(frame, float(second))
        kept.keep_evidence()
    assert 4 <= len(kept.film) <= 8
    assert kept.film[0].time_s == 1.0
    assert kept.film[-1].time_s > 80
    assert [still is not None for still in kept.evidence] == [True] * 3 + [False] * 97


@pytest.fixture
def heard(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that nobody ignores: under nohup SIGHUP is, and then it is to stay so."""
    number: signal.Signals = request.param
    found = signal.signal(number, signal.SIG_DFL)
    yield number
    signal.signal(number, found)


@pytest.mark.parametrize("heard", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], indirect=True)
def test_a_signal_ends_watching_and_keeps_what_was_seen(heard: signal.Signals) -> None:
    recorder = Recorder([Question("Q")], Clock(1.0))
    source, stopper = ShadesSource(10**6), Stopper()
    seen: list[str] = []

    def say_then_signal(reply) -> None:
        os.kill(os.getpid(), heard)
        seen.append(reply.text)  # the line being written is finished first

    before = signal.getsignal(heard)
    with stopper.listening():
        stop = watch_source(
            source,
            ScriptedPolicy({5.0: "five"}),
            recorder,
            events=WatchEvents(replied=say_then_signal),
            stopper=stopper,
        )
    assert signal.getsignal(heard) is before
    assert (stop, stopper.stopped, source.closed) == (StopReason.CANCELLED, True, True)
    assert seen == ["five"]
    assert recorder.num_turns == 5


def test_an_error_of_the_source_comes_out_and_closes_it() -> None:
    class Broken(ShadesSource):
        def read(self) -> FrameBatch | None:
            if self._shown == 3:
                raise VideoError("the cable was cut")
            return super().read()

    source, recorder = Broken(9), Recorder([Question("Q")], Clock(1.0))
    with pytest.raises(VideoError, match="cable"):
        watch_source(source, ScriptedPolicy({}), recorder)
    assert source.closed
    assert recorder.num_turns == 3
