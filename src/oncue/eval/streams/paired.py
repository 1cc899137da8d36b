"""How much the figures of two policies differ on the same items, and whether chance explains it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oncue.eval.streams.benchmark import BySubset
from oncue.eval.streams.tally import Tally, middle_95, resampling

NUM_SWAPS = 4999  # random ones; where there are no more in all, each of them once
_SEED = 1
_TIE = 1e-9  # differences that are equal but for rounding

Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """A figure of two policies; None where it is undefined.

    `difference` is second minus first, `interval` its 95 % interval over videos. `p_value`: how
    often a difference at least as large, of either sign, comes by chance where both are the same.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None


def paired_figures(
    first: Tally, second: Tally, figures: Callable[[BySubset], Values]
) -> tuple[PairedFigure, ...]:
    """Every figure of both, which must be of the same videos; ValueError for others.

    The interval: percentiles of the difference in resampled videos, the same ones for both. The p
    value: a permutation test that gives each video of one policy to the other, or not. Seeded; both
    are None for fewer than two videos.
    """
    videos = first.videos
    if set(videos) != set(second.videos):
        raise ValueError("both policies must be scored on the same videos")
    ours, others = figures(first.sums()), figures(second.sums())
    drawn: list[Values] = []
    swapped: list[Values] = []
    if len(videos) > 1:
        drawn = list(_drawn(first, second, figures, videos))
        swapped = list(_swapped(first, second, figures, videos))
    found = []
    for name, difference in _minus(others, ours).items():
        interval = middle_95([values[name] for values in drawn])
        p_value = _p_value(difference, [values[name] for values in swapped], len(videos))
        found.append(PairedFigure(name, ours[name], others[name], difference, interval, p_value))
    return tuple(found)


def is_exact(num_videos: int) -> bool:
    """Whether a p value counts all swaps, instead of a sample of them."""
    return num_videos <= (NUM_SWAPS + 1).bit_length() - 1


def _drawn(
    first: Tally, second: Tally, figures: Callable[[BySubset], Values], videos: tuple[str, ...]
) -> Iterator[Values]:
    weights = resampling(len(videos))
    both = (tally.resampled(weights, videos) for tally in (first, second))
    for ours, others in zip(*both, strict=True):
        yield _minus(figures(others), figures(ours))


def _swapped(
    first: Tally, second: Tally, figures: Callable[[BySubset], Values], videos: tuple[str, ...]
) -> Iterator[Values]:
    keep = _swaps(len(videos))
    tallies = ((first, keep), (second, 1 - keep), (second, keep), (first, 1 - keep))
    parts = (tally.resampled(weights, videos) for tally, weights in tallies)
    for own, given, other, taken in zip(*parts, strict=True):
        yield _minus(figures(_plus(other, taken)), figures(_plus(own, given)))


def _swaps(num_videos: int) -> np.ndarray:
    """1 where a video stays with its policy, 0 where it is given to the other, (swaps, videos)."""
    if is_exact(num_videos):
        return np.array(list(itertools.product((1.0, 0.0), repeat=num_videos)))
    drawn = np.random.default_rng(_SEED).integers(0, 2, (NUM_SWAPS, num_videos))
    return drawn.astype(np.float64)


def _p_value(
    difference: float | None, swapped: Sequence[float | None], num_videos: int
) -> float | None:
    sizes = [abs(value) for value in swapped if value is not None]
    if difference is None or not sizes or len(sizes) < len(swapped):
        return None
    num = sum(size >= abs(difference) - _TIE for size in sizes)
    return num / len(sizes) if is_exact(num_videos) else (num + 1) / (len(sizes) + 1)


def _minus(ours: Values, others: Values) -> Values:
    return {
        name: None if value is None or (other := others[name]) is None else value - other
        for name, value in ours.items()
    }


def _plus(ours: BySubset, others: BySubset) -> BySubset:
    return {
        subset: {
            name: ours.get(subset, {}).get(name, 0.0) + others.get(subset, {}).get(name, 0.0)
            for name in {**ours.get(subset, {}), **others.get(subset, {})}
        }
        for subset in {**ours, **others}
    }
