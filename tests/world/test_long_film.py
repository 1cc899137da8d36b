"""Laws of long films: what is shown when, what is asked, and what the pictures look like."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncue.errors import ConfigError
from oncue.types import TimeSpan
from oncue.video.pool import frame_time_s
from oncue.world.long.film import (
    COLOURS,
    FRAME_RATE,
    LENGTHS,
    NUM_DECOYS,
    SHAPES,
    Film,
    film_named,
    make_film,
)
from oncue.world.long.pictures import draw_pool, film_frames

FILMS = [make_film(split, i, 5) for split in ("train", "val", "test") for i in range(40)]
POOL = 96


def broken_laws(film: Film) -> list[str]:
    """What does not hold of a film."""
    found = []
    flash_s = [scene.flash.span.duration_s for scene in film.scenes]
    for scene in film.scenes:
        before_s = scene.flash.span.start_s - scene.span.start_s
        after_s = scene.span.end_s - scene.flash.span.end_s
        if min(before_s, after_s) < flash_s[0] / 2 - 1 / FRAME_RATE:
            found.append("a flash lies well inside its scene")
    spans = [scene.span for scene in film.scenes]
    if any(a.end_s >= b.start_s for a, b in pairwise(spans)):
        found.append("scenes follow each other")
    if spans[0].start_s <= 0 or spans[-1].end_s >= film.duration_s:
        found.append("scenes lie inside the film")
    for decoy, span in ((d.span, s) for d in film.decoys for s in spans):
        if decoy.start_s <= span.end_s and span.start_s <= decoy.end_s:
            found.append("decoys come while no shape is shown")
    if len({scene.shape for scene in film.scenes}) < len(film.scenes):
        found.append("no shape comes twice")
    if sorted(film.options) != sorted(COLOURS):
        found.append("options are the colours")
    if film.options["ABCD".index(film.answer)] != film.target.flash.colour:
        found.append("the answer is the colour of the flash")
    if film.target.shape not in film.question:
        found.append("the question names the shape")
    if not 1 <= len(film.decisive(POOL)) <= 3:
        found.append("one to three frames of the pool are decisive")
    return found


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["train", "val", "test"]))
def test_what_holds_of_every_film(index: int, seed: int, split: str) -> None:
    film = make_film(split, index, seed)
    assert not broken_laws(film)
    assert film == make_film(split, index, seed) == film_named(film.film_id)
    assert len(film.decoys) <= NUM_DECOYS


def test_a_film_that_breaks_a_law_is_noticed() -> None:
    film = FILMS[0]
    late = replace(film.scenes[0].flash, span=TimeSpan(0.0, 1.0))
    moved = replace(film, scenes=(replace(film.scenes[0], flash=late), *film.scenes[1:]))
    assert "a flash lies well inside its scene" in broken_laws(moved)
    reversed_ = replace(film, scenes=film.scenes[::-1])
    assert "scenes follow each other" in broken_laws(reversed_)
    twice = replace(film, options=(film.target.flash.colour,) * 4)
    assert broken_laws(twice) == ["options are the colours"]


def test_no_film_is_in_two_splits_and_lengths_letters_and_places_vary() -> None:
    assert len({film.film_id for film in FILMS}) == len(FILMS)
    assert len({(film.duration_s, film.scenes) for film in FILMS}) == len(FILMS)
    assert {film.length for film in FILMS} == {kind.name for kind in LENGTHS}
    assert len({film.answer for film in FILMS}) == len(COLOURS)
    assert len({film.asked for film in FILMS}) >= 5
    assert {film.target.shape for film in FILMS} == set(SHAPES)


def test_lengths_are_drawn_from_the_range() -> None:
    drawn = [make_film("train", i, 0, (120, 125)).duration_s for i in range(60)]
    assert set(drawn) == {120, 121, 122, 123, 124, 125}
    assert make_film("train", 0, 0, (600, 600)).duration_s == 600
    halves = Counter(make_film("train", i).duration_s > 380 for i in range(400))
    assert 160 < halves[True] < 240  # 380 is in the middle on a logarithmic scale


@pytest.mark.parametrize("num_frames", [16, 96, 128, 500])
def test_decisive_frames_are_those_that_show_shape_and_colour_together(num_frames: int) -> None:
    for film in FILMS[:20]:
        due = (film.target.shape, film.target.flash.colour)
        times = [frame_time_s(i, num_frames, film.duration_s) for i in range(num_frames)]
        shown = {i for i, time_s in enumerate(times) if film.shown_at(time_s) == due}
        assert film.decisive(num_frames) == shown
        evidence = film.task(num_frames).evidence
        assert evidence is not None
        assert shown <= evidence.frames
        assert len(shown) < len(evidence.frames) or num_frames < 96
        assert num_frames < 96 or shown


def named(corner: np.ndarray) -> str:
    """The colour of a ground, "" for a dark one."""
    if corner.max() < 100:
        return ""
    gaps = {name: np.abs(corner - np.array(rgb)).max() for name, rgb in COLOURS.items()}
    return min(gaps, key=lambda name: gaps[name])


@pytest.mark.parametrize("size_px", [28, 57])
def test_pictures_show_the_ground_and_a_shape_where_there_is_one(size_px: int) -> None:
    for film in FILMS[:6]:
        pool = draw_pool(film, POOL, size_px)
        assert pool.frames.pixels.shape == (POOL, size_px, size_px, 3)
        for index, picture in enumerate(pool.frames.pixels):
            shape, colour = film.shown_at(pool.time_of(index))
            assert named(picture[0, 0].astype(int)) == colour
            inked = (picture.min(axis=-1) > 200).mean()
            assert (inked > 0.05) == bool(shape)


def test_every_shape_looks_unlike_the_others() -> None:
    masks = {}
    for film in FILMS:
        pixels = draw_pool(film, POOL, 28).frames.pixels
        for scene in film.scenes:
            frames = sorted(film.frames_in(scene.span, POOL))
            masks[scene.shape] = pixels[frames].min(axis=-1).mean(axis=0) > 140
    assert set(masks) == set(SHAPES)
    for a, b in combinations(SHAPES, 2):
        assert (masks[a] ^ masks[b]).mean() > 0.04, (a, b)


def test_the_pool_is_made_of_frames_of_the_file() -> None:
    film = make_film("val", 3, 0, (120, 125))
    frames = list(film_frames(film, 14))
    assert len(frames) == film.duration_s * FRAME_RATE
    pool = draw_pool(film, POOL, 14)
    for index in range(POOL):
        number = int(pool.time_of(index) * FRAME_RATE + 1e-6)
        assert (pool.frames.pixels[index] == frames[number]).all()
        assert pool.frames.pts_s[index] == number / FRAME_RATE
    again = draw_pool(film, POOL, 14).frames.pixels
    assert (again == pool.frames.pixels).all()
    assert len({frame.tobytes() for frame in frames}) > 100  # brightness and place vary


@pytest.mark.parametrize("name", ["", "long-test-0-1", "long-all-0-000001", "q7", "test-0-000001"])
def test_other_names_are_no_films(name: str) -> None:
    assert film_named(name) is None


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of train, val, test"):
        make_film("dev", 0)
