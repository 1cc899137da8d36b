"""What perfect observers of some frames of a film get right: bounds for a policy that sees as many.

A perfect observer names the colour where a frame that it was shown has the flash of the question,
and guesses one of the options elsewhere. Observers differ in the frames they are shown: evenly
spread ones, or those of the first turn of retrieval and of looks after it. Looks are `random`:
anywhere; `fixed`: at the parts of the film, whatever is asked; `best`: around the frames of the
first turn that show the shape of the question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np

from oncue.env.retrieval import RetrievalSettings
from oncue.video.pool import spread
from oncue.world.long.film import COLOURS, LENGTHS, Film

NUM_FRAMES = 96  # of the pool that films are made for
LOOK = RetrievalSettings.for_budget(32)
_UNIFORM = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class Bound:
    """What an observer reaches: of `num_films`, it sees the flash in `num_seen`."""

    num_seen: int
    num_films: int

    @property
    def seen(self) -> float:
        """The share of films whose flash it sees, in [0, 1]."""
        return self.num_seen / self.num_films

    @property
    def accuracy(self) -> float:
        """The share of answers that are right, guesses included, in [0, 1]."""
        return self.seen + (1 - self.seen) / len(COLOURS)

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.num_seen + other.num_seen, self.num_films + other.num_films)


@dataclass(frozen=True, slots=True)
class _Case:
    """A film as an observer of `num_frames` knows it. `first`: the frames of the first turn;
    `cue`: those of them that show the shape of the question; `decisive`: the frames to be found."""

    num_frames: int
    first: tuple[int, ...]
    cue: tuple[int, ...]
    decisive: frozenset[int]
    seed: int


Frames = Callable[[_Case], Sequence[int]]  # what an observer is shown


def bounds(
    films: Sequence[Film], num_frames: int = NUM_FRAMES, look: RetrievalSettings = LOOK
) -> dict[str, dict[str, Bound]]:
    """The bounds of every observer by its name, for the films of each length and for "all". A
    length without films is left out, and so is a uniform sample larger than the pool.

    `num_frames`: of the pool; `look`: how it may be looked into. The best looks reach as far around
    the seen frames as serves films of a length best, with as many seen frames: that is fitted to
    these very films, so of a few films it is a little too high.
    """
    found = {}
    for kind in LENGTHS:
        cases = [_case(film, num_frames, look) for film in films if film.length == kind.name]
        if cases:
            found[kind.name] = _of_length(cases, num_frames, look)
    total: dict[str, Bound] = {}
    for of_length in found.values():
        for name, bound in of_length.items():
            total[name] = total[name] + bound if name in total else bound
    return {**found, "all": total} if found else {}


def _case(film: Film, num_frames: int, look: RetrievalSettings) -> _Case:
    first = _spread(0, num_frames - 1, look.first_frames) if look.first_frames else ()
    shown = film.frames_in(film.target.span, num_frames)
    cue = tuple(i for i in first if i in shown)
    return _Case(num_frames, first, cue, film.decisive(num_frames), film.seed)


def _of_length(
    cases: Sequence[_Case], num_frames: int, look: RetrievalSettings
) -> dict[str, Bound]:
    last, most = num_frames - 1, look.frames_per_look
    found = {
        f"{count} uniform frames": _bound(cases, partial(_same, _spread(0, last, count)))
        for count in sorted({*_UNIFORM, look.first_frames + (look.max_turns - 1) * most})
        if count <= num_frames
    }
    for num_looks in range(1, look.max_turns):
        ways: dict[str, Frames] = {
            "random": partial(_random, num_looks, most),
            "fixed": partial(_fixed, num_looks, most),
        }
        for way, frames in ways.items():
            found[_name(look, num_looks, way)] = _bound(cases, frames)
        found[_name(look, num_looks, "best")] = _best(cases, num_looks, most)
    return found


def _bound(cases: Sequence[_Case], frames: Frames) -> Bound:
    seen = (not case.decisive.isdisjoint(frames(case)) for case in cases)
    return Bound(sum(seen), len(cases))


def _name(look: RetrievalSettings, num_looks: int, way: str) -> str:
    return f"{look.first_frames} frames, {num_looks} {way} look{'s' if num_looks > 1 else ''}"


def _same(frames: Sequence[int], case: _Case) -> Sequence[int]:  # noqa: ARG001 - of any film
    return frames


def _random(num_looks: int, most: int, case: _Case) -> Sequence[int]:
    """Looks at `most` frames in a row, anywhere; the first ones are those of fewer looks."""
    rng = np.random.default_rng((case.seed, 23))
    width = min(most, case.num_frames)
    starts = [int(rng.integers(case.num_frames - width + 1)) for _ in range(num_looks)]
    return [*case.first, *(start + k for start in starts for k in range(width))]


def _fixed(num_looks: int, most: int, case: _Case) -> Sequence[int]:
    return [*case.first, *_parts(0, case.num_frames - 1, num_looks, most)]


def _best(cases: Sequence[_Case], num_looks: int, most: int) -> Bound:
    """Looks around the frames that show the shape, as far as serves most films; random ones where
    no frame of the first turn shows it."""
    groups: dict[int, list[_Case]] = defaultdict(list)
    for case in cases:
        groups[len(case.cue)].append(case)
    unseen = groups.pop(0, [])
    total = _bound(unseen, partial(_random, num_looks, most))
    for group in groups.values():
        tried = (_bound(group, partial(_around, m, num_looks, most)) for m in _margins(group[0]))
        total += max(tried, key=lambda bound: bound.num_seen)
    return total


def _margins(case: _Case) -> Iterator[tuple[int, int]]:
    """How many frames before and after the seen ones may be looked at: as many, or one more."""
    widest = max(b - a for a, b in pairwise((-1, *case.first, case.num_frames)))
    return ((before, before + more) for before in range(widest) for more in (0, 1))


def _around(margins: tuple[int, int], num_looks: int, most: int, case: _Case) -> Sequence[int]:
    """Looks at the stretch around the seen frames, no further than to those without the shape."""
    low = max((i for i in case.first if i < case.cue[0]), default=-1) + 1
    high = min((i for i in case.first if i > case.cue[-1]), default=case.num_frames) - 1
    start, end = max(low, case.cue[0] - margins[0]), min(high, case.cue[-1] + margins[1])
    return [*case.first, *_parts(start, end, num_looks, most)]


@lru_cache(maxsize=65_536)
def _parts(first: int, last: int, num_looks: int, most: int) -> tuple[int, ...]:
    """The frames of looks at the parts of a stretch, one after the other."""
    num_parts = min(num_looks, last - first + 1)
    edges = [first + k * (last - first + 1) // num_parts for k in range(num_parts + 1)]
    return tuple(i for start, end in pairwise(edges) for i in _spread(start, end - 1, most))


@lru_cache(maxsize=65_536)
def _spread(first: int, last: int, most: int) -> tuple[int, ...]:
    return tuple(spread(first, last, most))
