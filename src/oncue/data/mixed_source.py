"""Dialogues of several sources in given ratios, and what a stage of training may read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

from oncue.clock import Clock
from oncue.data.dialogue_sources import Item, RowSource, WorldSource, check_odds, forget_rows
from oncue.data.frame_store import forget_stores
from oncue.data.indexed_rows import forget_indexed_rows
from oncue.data.offline_source import OfflineSource
from oncue.data.proactive_sources import ProactiveSource
from oncue.errors import ConfigError
from oncue.video.pool_reader import Shrink

FileRows = RowSource | ProactiveSource | OfflineSource


@dataclass(frozen=True, slots=True)
class MixedSource:
    """Dialogues of `parts`, with these `odds`.

    Of endless parts alone each dialogue is drawn. Where a part has rows, parts take turns, so that
    every stretch has the ratios of the odds, and no row comes twice before all rows of its part
    came once. No odds at all: each row of all parts once in an epoch.
    """

    parts: tuple[WorldSource | RowSource | ProactiveSource | OfflineSource, ...]
    odds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts or len(self.odds) not in (0, len(self.parts)):
            raise ConfigError(
                f"odds must be one number per part, got {len(self.odds)} for {len(self.parts)} "
                "parts"
            )
        if self.odds:
            check_odds("odds", self.odds)
        elif any(isinstance(part, WorldSource) for part in self.parts):
            raise ConfigError("odds must be given where a part is endless, got none")

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,
    ) -> Item:
        """The dialogue number `index` and its frames."""
        part, number = self._drawn(index, seed)
        return part.item(number, seed, clock, frames_per_turn, shrink)

    @property
    def file_parts(self) -> tuple[FileRows, ...]:
        """The parts that have rows."""
        return tuple(part for part in self.parts if not isinstance(part, WorldSource))

    def __len__(self) -> int:
        """How many rows the files of all parts have."""
        return sum(len(part) for part in self.file_parts)

    @contextmanager
    def named(self, index: int, seed: int) -> Iterator[None]:
        """What is wrong with a row of a file is a DataError that begins with its file and
        number."""
        part, number = self._drawn(index, seed)
        if isinstance(part, WorldSource):
            yield
        else:
            with part.named(number, seed):
                yield

    def _drawn(self, index: int, seed: int) -> tuple[WorldSource | FileRows, int]:
        """The part that dialogue `index` is of, and its number there."""
        if not self.file_parts:
            rng = np.random.default_rng((seed, index, 11))
            shares = np.array(self.odds) / sum(self.odds)
            return self.parts[int(rng.choice(len(self.parts), p=shares))], index
        odds = self.odds or tuple(len(part) for part in self.file_parts)
        left = sum(map(Fraction, odds))
        for part, own in zip(self.parts, map(Fraction, odds), strict=True):
            if own == left:  # nothing but zeros behind it
                return part, index
            before, after = (floor(n * own / left) for n in (index, index + 1))
            if after > before:
                return part, before
            index, left = index - before, left - own
        raise AssertionError("odds are not all 0")


Source = WorldSource | MixedSource | RowSource | ProactiveSource | OfflineSource


def rows_of(source: object) -> FileRows | MixedSource | None:
    """The source, where it reads rows of files; None for an endless one."""
    if isinstance(source, MixedSource):
        return source if source.file_parts else None
    return source if isinstance(source, RowSource | ProactiveSource | OfflineSource) else None


def files_of(source: object) -> tuple[FileRows, ...]:
    """The sources of rows that a source is made of."""
    if isinstance(source, MixedSource):
        return source.file_parts
    return (source,) if isinstance(source, RowSource | ProactiveSource | OfflineSource) else ()


def has_end(source: object) -> bool:
    """Whether an epoch of the source ends: it reads files alone."""
    if isinstance(source, MixedSource):
        return len(source.file_parts) == len(source.parts)
    return bool(files_of(source))


def forget_files() -> None:
    """Files of rows, and frame stores, are read again when they are next needed: these may have
    been edited since. During a run they stay what they were."""
    forget_rows()
    forget_indexed_rows()
    forget_stores()
