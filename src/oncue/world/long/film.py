"""Films of 2 to 20 minutes: shapes are shown for a while, each with one short flash of colour.

A question is about the flash while one shape is shown. Flashes of the other shapes, and some while
nothing is shown, mislead, so that the colours in a film alone say nothing. The longer a film, the
smaller the parts of it that shapes and flashes take, and the more a uniform sample misses.

Everything begins and ends with a frame of the file, so that a frame of a pool shows the same
whether read from the file or drawn.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from oncue.errors import ConfigError
from oncue.render.options import LETTERS, labelled
from oncue.types import Evidence, Question, Task, TimeSpan
from oncue.video.pool import frame_time_s, frames_within

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "green": (30, 160, 60),
    "blue": (45, 75, 225),
    "yellow": (235, 210, 40),
}
SHAPES = ("square", "circle", "triangle", "star", "cross", "ring", "bar", "diamond")
FRAME_RATE = 4  # of the files
SHORTEST_S, LONGEST_S = 120, 1200
NUM_DECOYS = 3  # at most, flashes while nothing is shown
_SPLITS = {"train": 0, "val": 1, "test": 2}
_NAME = re.compile(rf"long-({'|'.join(_SPLITS)})-(\d{{1,18}})-(\d{{6,18}})")
_BEFORE_NEXT_S = 1e-6  # the end of a span is not inside it


@dataclass(frozen=True, slots=True)
class LengthClass:
    """Films of up to `longest_s`. They show `num_scenes` shapes, each for a part of the film from
    `scene_parts[0]` to `scene_parts[1]`; a flash takes `flash_part` of the film."""

    name: str
    longest_s: int
    num_scenes: int
    scene_parts: tuple[float, float]
    flash_part: float


# Of a pool of 96 frames 2, 1 or 2, and 1 show a flash (one more at times: whole frames of the file)
LENGTHS = (
    LengthClass("short", 240, 5, (0.083, 0.125), 1 / 48),
    LengthClass("medium", 600, 6, (0.07, 0.105), 1 / 64),
    LengthClass("long", LONGEST_S, 7, (0.06, 0.09), 1 / 96),
)


@dataclass(frozen=True, slots=True)
class Flash:
    """The ground has a colour during `span`."""

    colour: str
    span: TimeSpan


@dataclass(frozen=True, slots=True)
class Scene:
    """A shape is shown during `span`, with one flash inside it."""

    shape: str
    span: TimeSpan
    flash: Flash


@dataclass(frozen=True, slots=True)
class Film:
    """What happens in a film, and what is asked about it.

    `scenes`: in order of time, no shape twice. `decoys`: flashes while no shape is shown. `asked`:
    the index of the scene that the question is about. `options`: all colours. `seed`: of what
    differs from second to second.
    """

    film_id: str
    duration_s: int
    scenes: tuple[Scene, ...]
    decoys: tuple[Flash, ...]
    asked: int
    options: tuple[str, ...]
    seed: int

    @property
    def target(self) -> Scene:
        """The scene that the question is about."""
        return self.scenes[self.asked]

    @property
    def length(self) -> str:
        """The name of its `LengthClass`."""
        return length_of(self.duration_s).name

    @property
    def question(self) -> str:
        return f"Which colour flashes while the {self.target.shape} is shown?"

    @property
    def answer(self) -> str:
        """The letter of the right option."""
        return LETTERS[self.options.index(self.target.flash.colour)]

    def task(self, num_frames: int) -> Task:
        """The question, for a pool of `num_frames`. Its evidence is the whole scene."""
        spans = (self.target.span,)
        frames = frames_within(spans, num_frames, self.duration_s)
        return Task(
            self.film_id,
            (Question(self.question),),
            duration_s=self.duration_s,
            options=labelled(self.options),
            answer=self.answer,
            evidence=Evidence(frames, num_frames, spans),
        )

    def decisive(self, num_frames: int) -> frozenset[int]:
        """The frames of a pool of `num_frames` that show the flash that is asked for. A pool of
        fewer than 96 may have none."""
        return self.frames_in(self.target.flash.span, num_frames)

    def frames_in(self, span: TimeSpan, num_frames: int) -> frozenset[int]:
        """The frames of a pool of `num_frames` that show what happens in `span`."""
        return frozenset(
            i for i in range(num_frames) if frame_time_s(i, num_frames, self.duration_s) in span
        )

    def shown_at(self, time_s: float) -> tuple[str, str]:
        """The shape, and the colour of a flash, at a time; "" for none."""
        scene = next((each for each in self.scenes if time_s in each.span), None)
        flashes = self.decoys if scene is None else (scene.flash,)
        colour = next((flash.colour for flash in flashes if time_s in flash.span), "")
        return "" if scene is None else scene.shape, colour


def length_of(duration_s: float) -> LengthClass:
    """The class of films of that length."""
    return next(one for one in LENGTHS if duration_s <= one.longest_s)


def check_films(split: str, duration_s: tuple[int, int]) -> None:
    """Raises ConfigError for an unknown split, and for lengths that are not whole seconds from 120
    to 1200, the smallest first."""
    low, high = duration_s
    if split not in _SPLITS:
        raise ConfigError(f"unknown split {split!r}; expected one of {', '.join(_SPLITS)}")
    whole = low == int(low) and high == int(high)
    if not whole or not SHORTEST_S <= low <= high <= LONGEST_S:
        raise ConfigError(
            f"duration_s must be two whole numbers from {SHORTEST_S} to {LONGEST_S}, the smallest "
            f"first, got {low:g} and {high:g}"
        )


def make_film(
    split: str,
    index: int,
    seed: int = 0,
    duration_s: tuple[int, int] = (SHORTEST_S, LONGEST_S),
) -> Film:
    """Film number `index` of a split. Its length in whole seconds is drawn from `duration_s`, short
    ones as often as long ones (evenly on a logarithmic scale). Raises as `check_films`."""
    check_films(split, duration_s)
    rng = np.random.default_rng((_SPLITS[split], seed, index, 17))
    low, high = (math.log(each) for each in duration_s)
    length_s = round(math.exp(rng.uniform(low, high)))
    kind = length_of(length_s)
    num_ticks = length_s * FRAME_RATE
    flash_ticks = math.ceil(num_ticks * kind.flash_part)
    stretches = _stretches(rng, kind, num_ticks, flash_ticks)
    shapes = rng.permutation(len(SHAPES))[: len(stretches)]
    scenes = tuple(
        _scene(rng, SHAPES[shape], *stretch, flash_ticks)
        for shape, stretch in zip(shapes, stretches, strict=True)
    )
    decoys = _decoys(rng, stretches, num_ticks, flash_ticks)
    options = tuple(list(COLOURS)[i] for i in rng.permutation(len(COLOURS)))
    asked = int(rng.integers(len(scenes)))
    name = f"long-{split}-{seed}-{index:06d}"
    return Film(name, length_s, scenes, decoys, asked, options, int(rng.integers(2**31)))


def film_named(film_id: str) -> Film | None:
    """The film of that name, of any length; None for what is no name of one."""
    found = _NAME.fullmatch(film_id)
    return make_film(found[1], int(found[3]), int(found[2])) if found else None


def _stretches(
    rng: np.random.Generator, kind: LengthClass, num_ticks: int, flash_ticks: int
) -> list[tuple[int, int]]:
    """(first tick, end) of each scene, in order of time, with gaps of half a flash or more. A tick
    is a frame of the file."""
    lengths = rng.uniform(*kind.scene_parts, size=kind.num_scenes) * num_ticks
    least = flash_ticks / 2
    free = num_ticks - lengths.sum() - least * (kind.num_scenes + 1)
    gaps = least + rng.dirichlet(np.full(kind.num_scenes + 1, 2.0)) * free
    firsts = np.cumsum(gaps[:-1]) + np.concatenate(([0.0], np.cumsum(lengths)[:-1]))
    return [
        (int(first), int(first + length)) for first, length in zip(firsts, lengths, strict=True)
    ]


def _scene(rng: np.random.Generator, shape: str, first: int, end: int, flash_ticks: int) -> Scene:
    """A flash at any time of the scene but in its first and last half flash."""
    edge = flash_ticks // 2
    start = first + edge + int(rng.integers(end - first - flash_ticks - 2 * edge + 1))
    return Scene(shape, _span(first, end), _flash(rng, start, flash_ticks))


def _decoys(
    rng: np.random.Generator, stretches: list[tuple[int, int]], num_ticks: int, flash_ticks: int
) -> tuple[Flash, ...]:
    """A flash in each of the widest gaps that are twice as wide as one."""
    edges = [0, *(tick for stretch in stretches for tick in stretch), num_ticks]
    gaps = sorted(((b - a, a) for a, b in zip(edges[::2], edges[1::2], strict=True)), reverse=True)
    found = []
    for width, first in gaps[:NUM_DECOYS]:
        if width >= 2 * flash_ticks:
            found.append(
                _flash(rng, first + int(rng.integers(width - flash_ticks + 1)), flash_ticks)
            )
    return tuple(sorted(found, key=lambda flash: flash.span.start_s))


def _flash(rng: np.random.Generator, first: int, num_ticks: int) -> Flash:
    colour = list(COLOURS)[int(rng.integers(len(COLOURS)))]
    return Flash(colour, _span(first, first + num_ticks))


def _span(first: int, end: int) -> TimeSpan:
    """The time of the frames `first` to `end` (not inside) of the file."""
    return TimeSpan(first / FRAME_RATE, end / FRAME_RATE - _BEFORE_NEXT_S)
