"""Sums of scores by video and subset, and the intervals of figures by resampling videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from oncue.eval.streams.benchmark import BySubset, Terms

NUM_RESAMPLES = 1000
_SEED = 0


class Tally:
    """The sums of all terms, kept by video: its size grows with the number of videos alone."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str], int] = {}
        self._rows: dict[str, dict[int, float]] = {}

    def add(self, video: str, subset: str, terms: Terms) -> None:
        """One more item of `video`."""
        row = self._rows.setdefault(video, {})
        for name, value in terms.items():
            column = self._columns.setdefault((subset, name), len(self._columns))
            row[column] = row.get(column, 0.0) + value

    @property
    def videos(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def sums(self) -> BySubset:
        """Over all videos."""
        return self._by_subset(self.matrix().sum(axis=0))

    def matrix(self, videos: tuple[str, ...] | None = None) -> np.ndarray:
        """(videos, columns) float64: the sums of each video, in the order of `videos`."""
        names = self.videos if videos is None else videos
        matrix = np.zeros((len(names), len(self._columns)))
        for number, name in enumerate(names):
            for column, value in self._rows.get(name, {}).items():
                matrix[number, column] = value
        return matrix

    def resampled(self, weights: np.ndarray, videos: tuple[str, ...]) -> Iterator[BySubset]:
        """The sums under each row of `weights` (resamples, videos)."""
        for sums in weights @ self.matrix(videos):
            yield self._by_subset(sums)

    def _by_subset(self, sums: np.ndarray) -> BySubset:
        by_subset: dict[str, dict[str, float]] = {}
        for (subset, name), column in self._columns.items():
            by_subset.setdefault(subset, {})[name] = float(sums[column])
        return by_subset


def resampling(num_videos: int, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """How often each video is drawn, (resamples, videos): as many draws as there are videos."""
    drawn = np.random.default_rng(_SEED).multinomial(
        num_videos, np.full(num_videos, 1 / num_videos), size=num_resamples
    )
    return np.asarray(drawn, np.float64)


def interval(
    tally: Tally, figure: Callable[[BySubset], float | None]
) -> tuple[float, float] | None:
    """The 95 % interval of `figure` (percentiles of the bootstrap over videos); None for fewer than
    two videos, and where the figure is undefined in a resample."""
    found = intervals(tally, lambda sums: {"": figure(sums)})
    return found[""]


def intervals(
    tally: Tally, figures: Callable[[BySubset], Mapping[str, float | None]]
) -> dict[str, tuple[float, float] | None]:
    """As `interval`, of several figures in one resampling."""
    videos = tally.videos
    if len(videos) < 2:
        return dict.fromkeys(figures(tally.sums()))
    draws = [figures(sums) for sums in tally.resampled(resampling(len(videos)), videos)]
    return {name: middle_95([draw[name] for draw in draws]) for name in draws[0]}


def middle_95(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Where the middle 95 % of `values` lie; None where one of them is undefined, and for none."""
    sound = [value for value in values if value is not None]
    if len(sound) < len(values) or not sound:
        return None
    low, high = np.percentile(sound, (2.5, 97.5))
    return float(low), float(high)
