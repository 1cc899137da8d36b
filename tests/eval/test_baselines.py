"""The frame-difference baseline and the earliest possible perfect replies."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.env.streaming import StreamingEnv
from oncue.errors import ConfigError
from oncue.eval.benchmarks.baselines import (
    ChangeMeter,
    FrameDifferencePolicy,
    Trigger,
    label_clip,
    oracle_replies,
    tune,
)
from oncue.eval.timing import TimingCount, count_timing
from oncue.policy.scripted import ScriptedPolicy
from oncue.rollout import run_episode
from oncue.scoring.judge import ExactJudge
from oncue.scoring.metrics import score_proactive
from oncue.types import FrameBatch, GoldTurn, Task, TimeSpan


class ListSource:
    """The given frames, one per second."""

    frame_interval_s = 1.0

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames, self.num_read = frames, 0

    def read(self) -> FrameBatch | None:
        if self.num_read == len(self.frames):
            return None
        self.num_read += 1
        return FrameBatch(self.frames[self.num_read - 1][None], np.array([float(self.num_read)]))

    def close(self) -> None:
        pass


def grey(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


# The picture changes with the frames shown at 3 s (by 10), 6 s (by 40) and 7 s (by 40).
LEVELS = [100, 100, 110, 110, 110, 150, 110, 110]
FRAMES = [grey(level) for level in LEVELS]


def test_change_is_the_mean_grey_difference():
    meter = ChangeMeter()
    changes = [meter.change(FrameBatch(f[None], np.zeros(1))) for f in FRAMES]
    assert changes == [0, 0, 10, 0, 0, 40, 40, 0]
    assert meter.change(FrameBatch.empty()) == 0


def test_of_several_frames_in_a_turn_the_largest_change_counts():
    meter = ChangeMeter()
    assert meter.change(FrameBatch(np.stack([grey(10), grey(30), grey(25)]), np.zeros(3))) == 20
    assert meter.change(FrameBatch(np.stack([grey(75), grey(76)]), np.zeros(2))) == 50


def test_noise_averages_out_and_a_thing_does_not():
    rng = np.random.default_rng(0)
    noisy = [np.clip(rng.normal(128, 8, (360, 640, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    thing = noisy[1].copy()
    thing[100:200, 100:200] = 255
    clean, meter = ChangeMeter(), ChangeMeter()
    for frame in noisy:
        quiet = clean.change(FrameBatch(frame[None], np.zeros(1)))
    meter.change(FrameBatch(noisy[0][None], np.zeros(1)))
    assert meter.change(FrameBatch(thing[None], np.zeros(1))) > 5 * quiet


def spoken(trigger: Trigger, frames_per_turn: int = 1) -> list[float]:
    env = StreamingEnv(ListSource(FRAMES), frames_per_turn=frames_per_turn)
    episode = asyncio.run(
        run_episode(env, FrameDifferencePolicy(trigger), Task("t"), keep_frames=False)
    )
    return [reply.time_s for reply in episode.replies]


@pytest.mark.parametrize(
    ("trigger", "times_s"),
    [
        (Trigger(5), [3, 6, 7]),
        (Trigger(10), [6, 7]),  # at the threshold is not above it
        (Trigger(5, cooldown_s=1), [3, 6, 7]),
        (Trigger(5, cooldown_s=2), [3, 6]),
        (Trigger(5, cooldown_s=4), [3, 7]),
        (Trigger(50), []),
    ],
)
def test_the_policy_speaks_where_tuning_says_it_would(trigger, times_s):
    assert spoken(trigger) == times_s
    assert trigger.times_of(label_clip(FRAMES, Clock(1.0), []).changes) == times_s


def test_two_frames_per_turn():
    assert spoken(Trigger(5), frames_per_turn=2) == [4, 6, 8]


def test_silent_on_a_frozen_video():
    clip = label_clip([grey(77)] * 20, Clock(1.0), [])
    assert Trigger(0.0).times_of(clip.changes) == []


def test_tuning_finds_the_best_of_the_grid():
    clip = label_clip(FRAMES, Clock(1.0), [TimeSpan(5.5, 6.5)])
    tuned = tune([clip], thresholds=[5, 20, 50])
    assert (tuned.trigger, tuned.timing) == (Trigger(20, 4.0), TimingCount(1, 0, 0))
    everything = tune(
        [label_clip(FRAMES, Clock(1.0), [TimeSpan(t, t + 0.5) for t in (3, 6, 7)])], [5, 20, 50]
    )
    assert (everything.trigger.threshold, everything.timing.f1) == (5, 1.0)
    with pytest.raises(ConfigError):
        tune([clip], [])


def task(*turns: GoldTurn, duration_s: float | None = 10.0) -> Task:
    return Task("t", (), turns, duration_s)


def due(start_s: float, end_s: float, content: str, visible_s: float | None = None) -> GoldTurn:
    return GoldTurn(content, TimeSpan(start_s, end_s), visible_s=visible_s)


def test_oracle_speaks_at_the_first_turn_that_can_see_the_event():
    gold = task(
        due(2.2, 5, "a"), due(4, 8, "b", 5.5), due(6.2, 6.8, "no turn inside"), due(9.5, 10, "end")
    )
    assert oracle_replies(gold, 1.0) == {3.0: "a", 6.0: "b", 10.0: "end"}
    assert oracle_replies(gold, 1.0, frames_per_turn=2) == {4.0: "a", 6.0: "b", 10.0: "end"}
    assert oracle_replies(task(due(0, 4, "at once")), 1.0) == {1.0: "at once"}
    assert oracle_replies(task(due(1.2, 4, "x"), due(1.5, 4, "y")), 1.0) == {2.0: "x y"}


def test_oracle_knows_the_short_last_turn():
    gold = task(due(8.5, 9, "last"), duration_s=9.0)
    assert oracle_replies(gold, 1.0, frames_per_turn=2) == {9.0: "last"}
    assert oracle_replies(task(due(8.5, 9, "last"), duration_s=None), 1.0, 2, num_frames=7) == {}


def test_oracle_on_the_loop_scores_what_no_causal_policy_can_beat():
    """Frames of 8 s; due in [1, 5] and [5.5, 8] at 1 s per frame: replies at 1 and 6 s."""
    gold = task(due(1, 5, "a"), due(5.5, 8, "b"), duration_s=8.0)
    env = StreamingEnv(ListSource(FRAMES))
    episode = asyncio.run(run_episode(env, ScriptedPolicy(oracle_replies(gold, 1.0)), gold))
    assert [(r.time_s, r.text) for r in episode.replies] == [(1, "a"), (6, "b")]
    assert count_timing(episode.replies, [g.span for g in gold.gold]).f1 == 1
    result = asyncio.run(score_proactive([episode], ExactJudge(lambda g, r: 2 * (g == r))))
    assert result.pauc(0.0) == pytest.approx((1 + (0.5 * 0.5 + 2 * 2) / (2.5 * 2)) / 2)
    assert (result.first_reply_delay_s, result.num_false_replies) == (0.25, 0)
