"""What a perfect observer of some frames of a film gets right: the bounds of any policy that sees
no more.

It names the colour where a frame that it saw shows the flash, and guesses one of the options
elsewhere. A pool has M frames; a look shows at most 8 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from oncue.scoring.confidence_intervals import Proportion
from oncue.types import TimeSpan
from oncue.video.pool import frame_time_s, spread
from oncue.world.long.film import LENGTHS, Film

FIRST, PER_LOOK = 16, 8  # frames of the first turn and of a look, for a budget of 32
Frames = Callable[[Film, int, np.random.Generator], Iterable[int]]


@dataclass(frozen=True, slots=True)
class Bound:
    """What an observer reaches: the share of films whose flash it sees, and its accuracy, guesses
    included."""

    name: str
    seen: Proportion

    @property
    def accuracy(self) -> float:
        """Expected share of right answers, in [0, 1]; 0 of no films."""
        share = self.seen.value or 0.0
        return share + (1 - share) / 4


def bounds(films: Sequence[Film], num_frames: int, seed: int = 0) -> list[Bound]:
    """Every observer on these films, for a pool of `num_frames`."""
    return [
        Bound(
            name,
            Proportion(sum(_sees(film, num_frames, shown, seed) for film in films), len(films)),
        )
        for name, shown in OBSERVERS.items()
    ]


def bounds_by_length(films: Sequence[Film], num_frames: int) -> dict[str, list[Bound]]:
    """`bounds` of the films of each length, and of all."""
    groups = {one.name: [f for f in films if f.length == one.name] for one in LENGTHS}
    return {
        name: bounds(some, num_frames) for name, some in {**groups, "all": films}.items() if some
    }


def _sees(film: Film, num_frames: int, shown: Frames, seed: int) -> bool:
    rng = np.random.default_rng((film.seed, seed, 23))
    return bool(film.decisive(num_frames) & set(shown(film, num_frames, rng)))


def _uniform(count: int) -> Frames:
    return lambda _film, num_frames, _rng: spread(0, num_frames - 1, count)


def _with_looks(look: Frames) -> Frames:
    def shown(film: Film, num_frames: int, rng: np.random.Generator) -> list[int]:
        return [*spread(0, num_frames - 1, FIRST), *look(film, num_frames, rng)]

    return shown


def _random_looks(count: int) -> Frames:
    """Looks at stretches of 8 frames anywhere."""

    def look(_film: Film, num_frames: int, rng: np.random.Generator) -> list[int]:
        starts = rng.integers(0, num_frames - PER_LOOK + 1, size=count)
        return [int(s) + k for s in starts for k in range(PER_LOOK)]

    return look


def _halves(_film: Film, num_frames: int, _rng: np.random.Generator) -> list[int]:
    """The same two looks at every film: its halves."""
    middle = num_frames // 2
    return [*spread(0, middle - 1, PER_LOOK), *spread(middle, num_frames - 1, PER_LOOK)]


def _seen_cue(film: Film, num_frames: int) -> list[int]:
    """Which of the first frames show the shape that is asked for."""
    return [
        i for i in spread(0, num_frames - 1, FIRST) if _in(film.target.span, i, film, num_frames)
    ]


def _in(span: TimeSpan, index: int, film: Film, num_frames: int) -> bool:
    return frame_time_s(index, num_frames, film.duration_s) in span


def _one_best(film: Film, num_frames: int, rng: np.random.Generator) -> list[int]:
    """8 frames in a row from a little before the first one that shows the shape; anywhere where
    none of them does."""
    cue = _seen_cue(film, num_frames)
    if not cue:
        return list(_random_looks(1)(film, num_frames, rng))
    first = min(max(cue[0] - 2, 0), num_frames - PER_LOOK)
    return list(range(first, first + PER_LOOK))


def _two_best(film: Film, num_frames: int, rng: np.random.Generator) -> list[int]:
    """The halves of the stretch that the shape may have been shown in."""
    cue = _seen_cue(film, num_frames)
    if not cue:
        return list(_random_looks(2)(film, num_frames, rng))
    known = spread(0, num_frames - 1, FIRST)
    before = max((i for i in known if i < cue[0]), default=-1) + 1
    after = min((i for i in known if i > cue[-1]), default=num_frames) - 1
    middle = (before + after) // 2
    return [*spread(before, middle, PER_LOOK), *spread(min(middle + 1, after), after, PER_LOOK)]


OBSERVERS: dict[str, Frames] = {
    "16 uniform frames": _uniform(16),
    "32 uniform frames": _uniform(32),
    "64 uniform frames": _uniform(64),
    "16 and one random look": _with_looks(_random_looks(1)),
    "16 and two random looks": _with_looks(_random_looks(2)),
    "16 and both halves": _with_looks(_halves),
    "16 and one best look": _with_looks(_one_best),
    "16 and two best looks": _with_looks(_two_best),
}
