"""What differs between two pictures: laws over made-up clips, and one scene small enough to tell by
hand."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from oncue.world import footage, shapes
from oncue.world.clip import WORLDS, make_clip
from oncue.world.differences import differences
from oncue.world.scene import Event, Glide, Repaint, Scene, Track

FRAME_S = 0.25


@pytest.mark.parametrize("world", WORLDS)
def test_from_frame_to_frame_the_differences_are_the_events(world):
    told: Counter[str] = Counter()
    for clip in (make_clip(world, "val", index) for index in range(60)):
        times_s = [k * FRAME_S for k in range(round(clip.scene.duration_s / FRAME_S))]
        steps = itertools.pairwise(times_s)
        found = [event for from_s, to_s in steps for event in clip.differences(from_s, to_s)]
        assert found == list(clip.scene.events)
        told.update(event.kind for event in found)
    assert min(told[kind] for kind in ("appears", "leaves", "moves")) > 5
    assert (told["changes"] > 5, told["cut"] > 5) == (world == "shapes", world == "footage")


@pytest.mark.parametrize("world", WORLDS)
def test_backwards_everything_is_undone_and_two_looks_at_one_picture_differ_in_nothing(world):
    undone = {
        "appears": "leaves",
        "leaves": "appears",
        "moves": "moves",
        "changes": "changes",
        "cut": "cut",
    }
    num_told = 0
    for clip in (make_clip(world, "val", index) for index in range(60)):
        one_s, other_s = np.random.default_rng(clip.index).uniform(0, clip.scene.duration_s, 2)
        forwards, backwards = clip.differences(one_s, other_s), clip.differences(other_s, one_s)
        assert Counter(e.kind for e in backwards) == Counter(undone[e.kind] for e in forwards)
        assert clip.differences(one_s, one_s) == []
        num_told += len(forwards)
    assert num_told > 30


def thing(x: float, **more: object) -> Track:
    return Track(x, 0.5, 0.3, look=0, form=0, seed=0, **{"start_s": -10.0, **more})  # type: ignore[arg-type]


def scene(*tracks: Track, cuts: tuple[float, ...] = ()) -> Scene:
    return Scene(20.0, 4.0, tracks, (), cuts)


def test_several_differences_come_from_left_to_right_with_the_number_that_is_left():
    stays = thing(0.3, glides=[Glide(4, 5, 0.7)], repaints=[Repaint(6, 2)])
    shown = scene(thing(0.9, end_s=8), stays, thing(0.1, start_s=7))
    assert differences(shown, shapes.STYLE, 3, 9) == [
        Event("appears", 9, "left", "red square", count=2),
        Event("moves", 9, "right", "red square", count=2),
        Event("changes", 9, "right", "red square", "blue", 2),
        Event("leaves", 9, "right", "red square", count=2),
    ]
    assert differences(shown, shapes.STYLE, 9, 3)[1] == Event(
        "moves", 3, "left", "blue square", count=2
    )


def test_half_of_what_enters_or_leaves_slowly_is_there():
    shown = scene(thing(0.2, start_s=4.0, end_s=8.0, ramp_s=0.5))
    kinds = {
        (from_s, to_s): [e.kind for e in differences(shown, footage.STYLE, from_s, to_s)]
        for from_s, to_s in [(3, 4), (3, 4.25), (4.25, 8), (8, 8.25), (3, 9)]
    }
    assert kinds == {
        (3, 4): [],
        (3, 4.25): ["appears"],
        (4.25, 8): [],
        (8, 8.25): ["leaves"],
        (3, 9): [],
    }


def test_across_a_cut_only_the_cut_is_told():
    shown = scene(thing(0.2, cut_s=5.0), thing(0.8, start_s=5.0, cut_s=12.0), cuts=(5.0, 12.0))
    assert differences(shown, footage.STYLE, 4, 5) == [Event("cut", 5, count=1)]
    assert differences(shown, footage.STYLE, 5, 4) == [Event("cut", 4, count=1)]
    assert differences(shown, footage.STYLE, 4, 13) == [Event("cut", 13, count=0)]
    assert differences(shown, footage.STYLE, 5, 11) == []
    uncut = scene(*shown.tracks)
    assert [e.kind for e in differences(uncut, footage.STYLE, 4, 5)] == [
        "leaves",
        "appears",
    ]  # the cut is what matters
