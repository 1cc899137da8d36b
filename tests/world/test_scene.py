"""Laws of made-up scenes: when things may happen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from oncue.world import footage, shapes
from oncue.world.scene import DEAD_TIME_S, LEAD_IN_S, Scene, compose, frozen

STYLES = {"shapes": shapes.STYLE, "footage": footage.STYLE}


def scenes(
    world: str, num_scenes: int = 150, duration_s: float = 30.0, **changes: float
) -> list[Scene]:
    style = replace(STYLES[world], **changes)
    return [
        compose(style, np.random.default_rng((7, k)), duration_s, 4.0) for k in range(num_scenes)
    ]


@pytest.mark.parametrize("world", STYLES)
def test_nothing_happens_before_a_watcher_could_tell(world):
    times_s = [event.visible_s for scene in scenes(world) for event in scene.events]
    assert LEAD_IN_S <= min(times_s) < LEAD_IN_S + 0.5
    assert max(times_s) < 30.0


@pytest.mark.parametrize("world", STYLES)
def test_events_fall_on_video_frames_and_never_share_a_turn(world):
    for scene in scenes(world):
        times_s = np.array([event.visible_s for event in scene.events])
        assert (times_s * scene.frame_rate == np.rint(times_s * scene.frame_rate)).all()
        assert (np.diff(times_s) >= DEAD_TIME_S).all()


@pytest.mark.parametrize("world", STYLES)
def test_the_number_of_objects_is_that_of_the_tracks(world):
    num_half = 0  # events at whose first frame just half of the object is there
    for scene in scenes(world, 60):
        for event in scene.events:
            assert event.count == sum(track.is_present(event.visible_s) for track in scene.tracks)
            num_half += any(track.presence_at(event.visible_s) == 0.5 for track in scene.tracks)
    assert (num_half > 20) == (world == "footage")


@pytest.mark.parametrize("world", STYLES)
def test_half_of_an_object_can_be_seen_from_visible_s_on_and_no_frame_earlier(world):
    """Of objects that a cut ends, too: it must not change how they came in."""
    num_cut_off = 0
    for scene in scenes(world):
        for event in (e for e in scene.events if e.kind in ("appears", "leaves")):
            before_s = event.visible_s - 1 / scene.frame_rate
            turned = [
                t for t in scene.tracks if t.is_present(event.visible_s) != t.is_present(before_s)
            ]
            assert len(turned) == 1
            earlier, now = turned[0].presence_at(before_s), turned[0].presence_at(event.visible_s)
            assert earlier < 0.5 <= now if event.kind == "appears" else now <= 0.5 < earlier
            num_cut_off += turned[0].ramp_s > 0 and turned[0].cut_s < scene.duration_s
    assert (num_cut_off > 5) == (world == "footage")


def hazard(gaps_s: np.ndarray, start_s: float, end_s: float) -> float:
    """Of the gaps that reach `start_s`, the share per second that ends before `end_s`."""
    reached = gaps_s >= start_s
    return float((gaps_s[reached] < end_s).mean() / (end_s - start_s))


@pytest.mark.parametrize("world", STYLES)
def test_the_time_since_the_last_event_does_not_tell_when_the_next_one_comes(world):
    """One rate per scene, exponential gaps: the hazard of scenes of one rate is flat. Bounded gaps
    would raise it."""
    gaps_s = []
    for scene in scenes(world, 120, duration_s=400.0, empty_frac=0.0):
        times_s = [e.visible_s for e in scene.events if e.kind != "moves"]
        mean_s = np.mean(np.diff(times_s)) if len(times_s) > 30 else 0
        if (
            0.5 * STYLES[world].mean_gap_s < mean_s - DEAD_TIME_S < 1.8 * STYLES[world].mean_gap_s
        ):  # the usual rate
            gaps_s.append(np.diff(times_s) - DEAD_TIME_S)
    gaps = np.concatenate(gaps_s)
    early, late = hazard(gaps, 1, 3), hazard(gaps, 5, 7)
    assert 0.75 < late / early < 1.3
    bounded = np.random.default_rng(0).uniform(0, 8, len(gaps))
    assert hazard(bounded, 5, 7) / hazard(bounded, 1, 3) > 1.5  # the check can fail


@pytest.mark.parametrize("world", STYLES)
def test_some_scenes_are_empty_and_some_are_crowded(world):
    numbers = [len(scene.events) for scene in scenes(world, 300)]
    share = np.mean([n == 0 for n in numbers])
    assert 0.03 < share < 0.35
    assert max(numbers) >= 10
    assert all(not scene.events for scene in scenes(world, 20, empty_frac=1.0))


@pytest.mark.parametrize("world", STYLES)
def test_a_frozen_scene_holds_what_was_there_and_does_not_change(world):
    for scene in scenes(world, 40):
        still = frozen(scene, 15.0)
        assert still.events == ()
        assert all(math.isinf(cut_s) for cut_s in still.cuts)
        assert len(still.tracks) == sum(t.is_present(15.0) for t in scene.tracks)
        for track in still.tracks:
            assert {
                (track.x_at(t), track.look_at(t), track.presence_at(t)) for t in (0.0, 7.3, 30.0)
            } == {(track.x_at(15.0), track.look_at(15.0), 1.0)}
