"""Bounds of perfect observers, against counts made frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from oncue.env.retrieval import RetrievalSettings
from oncue.video.pool import frame_time_s, spread
from oncue.world.long.film import Film, make_film
from oncue.world.long.observers import LOOK, Bound, bounds

FILMS = [make_film("val", i, 2) for i in range(300)]
FEW = FILMS[:12]


def sees(film: Film, frames: list[int], num_frames: int = 96) -> bool:
    due = (film.target.shape, film.target.flash.colour)
    times = (frame_time_s(i, num_frames, film.duration_s) for i in frames)
    return any(film.shown_at(time_s) == due for time_s in times)


def shows(film: Film, frame: int, num_frames: int = 96) -> bool:
    return film.shown_at(frame_time_s(frame, num_frames, film.duration_s))[0] == film.target.shape


def test_observers_that_do_not_look_at_the_film_first() -> None:
    found = bounds(FEW)["all"]
    for count in (16, 32, 64):
        due = sum(sees(film, spread(0, 95, count)) for film in FEW)
        assert found[f"{count} uniform frames"] == Bound(due, 12)
    first = spread(0, 95, 16)
    whole = sum(sees(film, first + spread(0, 95, 8)) for film in FEW)
    halves = sum(sees(film, first + spread(0, 47, 8) + spread(48, 95, 8)) for film in FEW)
    assert found["16 frames, 1 fixed look"] == Bound(whole, 12)
    assert found["16 frames, 2 fixed looks"] == Bound(halves, 12)


def test_the_best_look_is_at_least_eight_frames_in_a_row_from_the_best_place() -> None:
    """The place: so many frames before the first one that shows the shape, by how many do."""
    first = spread(0, 95, 16)
    found = bounds(FILMS)
    for length in ("short", "medium", "long"):
        by_place: dict[int, list[int]] = {}
        for film in (film for film in FILMS if film.length == length):
            cue = [i for i in first if shows(film, i)]
            starts = [min(max(cue[0] - back, 0), 88) for back in range(8)] if cue else [0] * 8
            seen = [sees(film, first + list(range(start, start + 8))) for start in starts]
            counts = by_place.setdefault(len(cue), [0] * 8)
            by_place[len(cue)] = [count + here for count, here in zip(counts, seen, strict=True)]
        best = found[length]["16 frames, 1 best look"].num_seen
        assert best >= sum(map(max, by_place.values()))
    total = found["all"]["16 frames, 1 best look"].num_seen
    assert total < len(FILMS)  # control: nobody sees everything


@pytest.mark.parametrize("num_frames", [64, 96, 128])
def test_more_and_better_looks_see_more(num_frames: int) -> None:
    for of_length in bounds(FILMS, num_frames).values():
        seen = {name: bound.num_seen for name, bound in of_length.items()}
        for count, s in ((1, ""), (2, "s")):
            best = seen[f"16 frames, {count} best look{s}"]
            assert best >= seen[f"16 frames, {count} random look{s}"] >= seen["16 uniform frames"]
            assert best >= seen[f"16 frames, {count} fixed look{s}"] >= seen["16 uniform frames"]
        assert seen["16 frames, 2 best looks"] >= seen["16 frames, 1 best look"]
        assert seen["16 frames, 2 random looks"] >= seen["16 frames, 1 random look"]
    for name in ("1 random look", "1 best look"):
        frames = f"16 frames, {name}"
        assert (
            bounds(FILMS)["all"][frames].num_seen
            > bounds(FILMS)["all"]["16 uniform frames"].num_seen
        )


def test_uniform_frames_miss_more_of_longer_films_and_best_looks_gain_more() -> None:
    found = bounds([make_film("val", i, 2) for i in range(400)])
    uniform = [found[x]["32 uniform frames"].accuracy for x in ("short", "medium", "long")]
    gains = [
        found[x]["16 frames, 2 best looks"].accuracy - found[x]["32 uniform frames"].accuracy
        for x in ("short", "medium", "long")
    ]
    assert uniform == sorted(uniform, reverse=True)
    assert gains == sorted(gains)
    assert gains[0] > 0.1


def test_all_is_the_sum_of_the_lengths_and_nothing_depends_on_the_order() -> None:
    found = bounds(FILMS)
    total = found.pop("all")
    for name, bound in total.items():
        parts = [of_length[name] for of_length in found.values()]
        assert bound == Bound(sum(p.num_seen for p in parts), sum(p.num_films for p in parts))
    assert {**found, "all": total} == bounds(FILMS) == bounds(FILMS[::-1])
    assert bounds([]) == {}


def test_a_blind_guess_is_right_once_in_four() -> None:
    assert Bound(0, 10).accuracy == 0.25
    assert Bound(10, 10).accuracy == 1.0
    assert np.isclose(Bound(5, 10).accuracy, 0.625)


def test_observers_have_the_budget_of_the_run() -> None:
    look = RetrievalSettings.for_budget(80, 3)
    assert {name for name in bounds(FEW, 128, look)["all"] if "uniform" in name} == {
        f"{count} uniform frames" for count in (16, 32, 64, 80)
    }
    assert "40 frames, 2 best looks" in bounds(FEW, 128, look)["all"]
    once = bounds(FEW, 40, RetrievalSettings(first_frames=16, max_turns=1))["all"]
    assert list(once) == ["16 uniform frames", "32 uniform frames"]
    unseen = bounds(FEW, 96, RetrievalSettings(first_frames=0, max_turns=2))["all"]
    assert unseen["0 frames, 1 best look"] == unseen["0 frames, 1 random look"]
    assert LOOK.first_frames == 16
