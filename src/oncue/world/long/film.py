"""Generated films of minutes: shapes are shown for a while, each with one short flash of colour.

Every question is about the flash while one shape is shown: short, decisive, and easy to miss. The
other shapes have flashes of their own, and more come while nothing is shown, so the colours of a
film alone say nothing. Films of different lengths differ in what a uniform sample of frames
catches: in longer ones shapes are shown for smaller parts of the whole.

Axis letters: H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from oncue.errors import ConfigError
from oncue.types import Evidence, FrameBatch, Question, Task, TimeSpan
from oncue.video.pool import FramePool, frame_time_s, frames_within

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "green": (30, 160, 60),
    "blue": (45, 75, 225),
    "yellow": (235, 210, 40),
}
SHAPES = ("square", "circle", "triangle", "star", "cross", "ring", "bar", "diamond")
FRAME_RATE = 4.0  # of the files
SHORTEST_S, LONGEST_S = 120.0, 1200.0
NUM_DECOYS = 3  # flashes while nothing is shown
_SPLITS = {"train": 0, "val": 1, "test": 2}
_INK, _EDGE_PART = (240, 240, 240), 0.5  # the colour of shapes; the least of a gap, in flashes


@dataclass(frozen=True, slots=True)
class LengthClass:
    """Films up to `longest_s`: how many shapes they show, for which part of the film each (from
    `part[0]` to `part[1]`), and for which part each flash."""

    name: str
    longest_s: float
    num_scenes: int
    part: tuple[float, float]
    flash_part: float


# Of a pool of 96 frames, 2, 1 to 2 and 1 show a flash: the longer a film, the more a sample misses
LENGTHS = (
    LengthClass("short", 240.0, 5, (0.083, 0.125), 1 / 48),
    LengthClass("medium", 600.0, 6, (0.07, 0.105), 1 / 64),
    LengthClass("long", LONGEST_S, 7, (0.06, 0.09), 1 / 96),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A shape is shown during `span`, and a colour flashes during `flash`, inside it."""

    shape: str
    span: TimeSpan
    colour: str
    flash: TimeSpan


@dataclass(frozen=True, slots=True)
class Film:
    """What happens in a film, and which of its scenes the question is about. `decoys`: flashes
    while no shape is shown."""

    film_id: str
    duration_s: float
    scenes: tuple[Scene, ...]
    decoys: tuple[tuple[str, TimeSpan], ...]
    asked: int
    options: tuple[str, ...]
    seed: int

    @property
    def target(self) -> Scene:
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
        return "ABCD"[self.options.index(self.target.colour)]

    def task(self, num_frames: int) -> Task:
        """The question, for a pool of `num_frames`. Its evidence is the whole scene."""
        spans = (self.target.span,)
        frames = frames_within(spans, num_frames, self.duration_s)
        return Task(
            self.film_id,
            (Question(self.question),),
            duration_s=self.duration_s,
            options=self.options,
            answer=self.answer,
            evidence=Evidence(frames, num_frames, spans),
        )

    def decisive(self, num_frames: int) -> frozenset[int]:
        """The frames of a pool of `num_frames` that show the flash that is asked for."""
        flash = self.target.flash
        times = (frame_time_s(i, num_frames, self.duration_s) for i in range(num_frames))
        return frozenset(i for i, time_s in enumerate(times) if time_s in flash)

    def shown_at(self, time_s: float) -> tuple[str, str]:
        """(shape, colour of a flash) at a time; "" for none."""
        scene = next((s for s in self.scenes if time_s in s.span), None)
        if scene is not None:
            return scene.shape, scene.colour if time_s in scene.flash else ""
        return "", next((colour for colour, span in self.decoys if time_s in span), "")


def length_of(duration_s: float) -> LengthClass:
    """The class of films of that length."""
    return next(one for one in LENGTHS if duration_s <= one.longest_s)


def make_film(
    split: str,
    index: int,
    seed: int = 0,
    duration_s: tuple[float, float] = (SHORTEST_S, LONGEST_S),
) -> Film:
    """Film number `index` of a split, of a length drawn log-uniformly from `duration_s`.

    Raises ConfigError for an unknown split, and lengths outside 120 to 1200 s.
    """
    low, high = duration_s
    if split not in _SPLITS:
        raise ConfigError(f"unknown split {split!r}; expected one of {', '.join(_SPLITS)}")
    if not SHORTEST_S <= low <= high <= LONGEST_S:
        raise ConfigError(
            f"films last from {SHORTEST_S:g} to {LONGEST_S:g} s, got {low:g} to {high:g}"
        )
    rng = np.random.default_rng((_SPLITS[split], seed, index, 17))
    length_s = float(round(math.exp(rng.uniform(math.log(low), math.log(high)))))
    length_s = min(max(length_s, low), high)
    kind = length_of(length_s)
    flash_s = length_s * kind.flash_part
    spans = _scene_spans(rng, kind, length_s, flash_s)
    shapes = rng.permutation(len(SHAPES))[: len(spans)]
    scenes = tuple(
        _scene(rng, SHAPES[shape], span, flash_s) for shape, span in zip(shapes, spans, strict=True)
    )
    decoys = _decoys(rng, spans, length_s, flash_s)
    options = tuple(list(COLOURS)[i] for i in rng.permutation(len(COLOURS)))
    asked = int(rng.integers(len(scenes)))
    return Film(
        f"{split}-{seed}-{index:06d}",
        length_s,
        scenes,
        decoys,
        asked,
        options,
        int(rng.integers(2**31)),
    )


def _scene_spans(
    rng: np.random.Generator, kind: LengthClass, length_s: float, flash_s: float
) -> list[TimeSpan]:
    """The spans of the scenes in order of time, with gaps that a decoy may fit into."""
    parts = rng.uniform(*kind.part, size=kind.num_scenes) * length_s
    free_s = length_s - parts.sum()
    least_s = _EDGE_PART * flash_s
    cuts = rng.dirichlet(np.full(kind.num_scenes + 1, 2.0))
    gaps = least_s + cuts * (free_s - least_s * (kind.num_scenes + 1))
    spans, at_s = [], 0.0
    for gap_s, part_s in zip(gaps, parts, strict=False):
        at_s += float(gap_s)
        spans.append(TimeSpan(at_s, at_s + float(part_s)))
        at_s += float(part_s)
    return spans


def _scene(rng: np.random.Generator, shape: str, span: TimeSpan, flash_s: float) -> Scene:
    """A flash at any time of the scene but at its very edges."""
    room_s = span.duration_s - 2 * _EDGE_PART * flash_s - flash_s
    start_s = span.start_s + _EDGE_PART * flash_s + float(rng.uniform(0, room_s))
    colour = list(COLOURS)[int(rng.integers(len(COLOURS)))]
    return Scene(shape, span, colour, _half_open(start_s, flash_s))


def _decoys(
    rng: np.random.Generator, spans: list[TimeSpan], length_s: float, flash_s: float
) -> tuple[tuple[str, TimeSpan], ...]:
    """Flashes in the widest gaps between scenes, as many as there is room for."""
    edges = [0.0, *(t for span in spans for t in (span.start_s, span.end_s)), length_s]
    gaps = sorted(
        ((end - start, start) for start, end in zip(edges[::2], edges[1::2], strict=True)),
        reverse=True,
    )
    found = []
    for width_s, start_s in gaps[:NUM_DECOYS]:
        if width_s > 2 * flash_s:
            at_s = start_s + float(rng.uniform(0.2, width_s / flash_s - 1.2)) * flash_s
            colour = list(COLOURS)[int(rng.integers(len(COLOURS)))]
            found.append((colour, _half_open(at_s, flash_s)))
    return tuple(sorted(found, key=lambda decoy: decoy[1].start_s))


def _half_open(start_s: float, length_s: float) -> TimeSpan:
    """The span without its end, so that two frames a flash apart are never both in it."""
    return TimeSpan(start_s, math.nextafter(start_s + length_s, start_s))


def film_frames(film: Film, size_px: int) -> Iterator[np.ndarray]:
    """The frames of its file, (H, W, 3) uint8 RGB, `FRAME_RATE` a second."""
    for index in range(round(film.duration_s * FRAME_RATE)):
        yield frame_at(film, index / FRAME_RATE, size_px)


def draw_pool(film: Film, num_frames: int, size_px: int) -> FramePool:
    """The pool that `read_pool` reads from its file but for compression, drawn on the fly."""
    times = [frame_time_s(i, num_frames, film.duration_s) for i in range(num_frames)]
    pixels = np.stack([frame_at(film, time_s, size_px) for time_s in times])
    return FramePool(FrameBatch(pixels, np.array(times)), film.duration_s)


def frame_at(film: Film, time_s: float, size_px: int) -> np.ndarray:
    """(size_px, size_px, 3) uint8 RGB. The ground is dark, and as bright as the colour of a flash;
    both are a little noisy, in a way that follows from the film and the time."""
    shape, colour = film.shown_at(time_s)
    rng = np.random.default_rng((film.seed, int(time_s * FRAME_RATE)))
    level = 35 + 20 * math.sin(2 * math.pi * time_s / 37.0)
    ground = COLOURS.get(colour, (level, level, level))
    noise = rng.uniform(-12, 12, 3)
    base = tuple(int(v) for v in np.clip(np.array(ground) + noise, 0, 255))
    image = Image.new("RGB", (size_px, size_px), base)
    if shape:
        shift = rng.uniform(-0.06, 0.06, 2) * size_px
        _draw(ImageDraw.Draw(image), shape, size_px, float(shift[0]), float(shift[1]))
    return np.asarray(image)


def _draw(draw: ImageDraw.ImageDraw, shape: str, size: int, dx: float, dy: float) -> None:
    """A white shape near the middle."""
    x, y, r = size / 2 + dx, size / 2 + dy, 0.32 * size
    box = (x - r, y - r, x + r, y + r)
    if shape == "square":
        draw.rectangle(box, fill=_INK)
    elif shape == "circle":
        draw.ellipse(box, fill=_INK)
    elif shape == "ring":
        draw.ellipse(box, outline=_INK, width=max(2, size // 9))
    elif shape == "bar":
        draw.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill=_INK)
    elif shape == "cross":
        draw.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill=_INK)
        draw.rectangle((x - r / 3, y - r, x + r / 3, y + r), fill=_INK)
    else:
        draw.polygon(_corners(shape, x, y, r), fill=_INK)


def _corners(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    if shape == "triangle":
        return [(x - r, y + r), (x + r, y + r), (x, y - r)]
    if shape == "diamond":
        return [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
    turns = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
    radii = [1.15 * r if k % 2 == 0 else 0.45 * r for k in range(10)]
    return [(x + a * math.cos(t), y + a * math.sin(t)) for t, a in zip(turns, radii, strict=True)]
