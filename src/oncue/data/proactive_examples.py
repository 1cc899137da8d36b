"""Segments of the dialogues of files (`oncue.data.proactive_rows`), for reinforcement learning
(paper section 4.3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.examples import RolloutExample
from oncue.data.frame_store import forget_stores
from oncue.data.indexed_rows import forget_indexed_rows
from oncue.data.proactive_rows import ProactiveRow
from oncue.data.proactive_sources import check_row, clip_of, folder_of, row_at
from oncue.data.row_examples import SEGMENT_S, ExampleRow
from oncue.data.row_files import Place, RowFiles, order_of
from oncue.data.row_frames import grid_frames
from oncue.data.segments import SegmentRules
from oncue.dialogue.write import Placement
from oncue.errors import ConfigError, DataError
from oncue.types import Task, TimeSpan
from oncue.video.pool_reader import Shrink


@dataclass(frozen=True, slots=True)
class ProactiveExamples:
    """The dialogues of the files `paths`, cut into segments of `segment_s` seconds, in another
    order in every epoch.

    The last segment of a dialogue takes what is left, so it is shorter than two. What ends before
    the first question is no example. `videos`, `store`: as of `ProactiveSource`.
    `max_history_turns`, `max_frames`, `placement`: as of `RowExamples`. `order_seed`: of the
    orders; None: that of the files, dialogue by dialogue.
    """

    paths: tuple[Path, ...]
    videos: Path | None = None
    store: Path | None = None
    segment_s: float = SEGMENT_S[0]
    max_history_turns: int = 90
    max_frames: int = 90
    placement: Placement = Placement.END
    order_seed: int | None = 0

    def __post_init__(self) -> None:
        if self.max_history_turns < 0 or self.max_frames < 1 or not self.segment_s > 0:
            raise ConfigError(
                "examples need max_history_turns >= 0, max_frames >= 1 and segment_s > 0, got "
                f"{self.max_history_turns}, {self.max_frames} and {self.segment_s}"
            )

    def __len__(self) -> int:
        return len(_segments(self.paths, self.segment_s))

    def examples(self) -> Iterator[ExampleRow]:
        """Every example, in the order of the files. Raises DataError, with file and row, for one
        that breaks the format."""
        for number, start_s in _segments(self.paths, self.segment_s):
            place = RowFiles(self.paths).place(int(number))
            row = row_at(place)
            segment = _segment(row, float(start_s), self.segment_s)
            yield ExampleRow(str(place), Path(row.video), segment, _task(row, segment))

    @property
    def has_exact_judge(self) -> bool:
        return False

    @property
    def is_retrieval(self) -> bool:
        return False

    @property
    def num_rows(self) -> int | None:
        return len(self)

    def named(self, index: int) -> AbstractContextManager[None]:
        """What is wrong with example number `index` is a DataError that begins with its file and
        row."""
        return self._place(index)[0].named()

    def reread(self) -> None:
        """Read the files once more when they are next needed."""
        forget_indexed_rows()
        forget_stores()
        _segments.cache_clear()

    def checks(self, clock: Clock, frames_per_turn: int) -> Iterator[Callable[[], None]]:
        """A call for every dialogue, which raises DataError for one that cannot be used."""
        return (
            partial(self._check, place, clock, frames_per_turn)
            for place in RowFiles(self.paths).places()
        )

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,
    ) -> RolloutExample:
        """Example number `index`. Raises DataError, with file and row, for what cannot be shown: a
        row that breaks the format, an unreadable video, or a segment that holds no turn, or more
        frames than `max_frames`."""
        place, start_s = self._place(index)
        with place.named():
            row = row_at(place)
            segment = _segment(row, start_s, self.segment_s)

            def frames_of(first: int, end: int) -> list[np.ndarray]:
                return grid_frames(
                    clip_of(row),
                    clock,
                    videos=folder_of(self.videos, place),
                    store=self.store,
                    first=first,
                    end=end,
                    shrink=shrink,
                )

            return self._rules.example(
                _task(row, segment),
                segment,
                str(place),
                frames_of,
                clock,
                frames_per_turn,
                seed,
                index,
            )

    @property
    def _rules(self) -> SegmentRules:
        return SegmentRules(self.max_history_turns, self.max_frames, self.placement)

    def _place(self, index: int) -> tuple[Place, float]:
        """The row of example number `index`, and where its segment begins."""
        segments = _segments(self.paths, self.segment_s)
        epoch, place = divmod(index, len(segments))
        if self.order_seed is not None:
            place = int(order_of(len(segments), self.order_seed, epoch)[place])
        number, start_s = segments[place]
        return RowFiles(self.paths).place(int(number)), float(start_s)

    def _check(self, place: Place, clock: Clock, frames_per_turn: int) -> None:
        check_row(place, clock, self.videos, self.store)
        row = row_at(place)
        for start_s in _starts(row, self.segment_s):
            segment = _segment(row, start_s, self.segment_s)
            self._rules.num_frames(segment, str(place), clock, frames_per_turn)


@lru_cache(maxsize=4)
def _segments(paths: tuple[Path, ...], segment_s: float) -> np.ndarray:
    """(N, 2): the number of the row of each example, and where its segment begins. A row that
    breaks the format counts as one: it says so when it is read. Raises DataError for files without
    examples."""
    found: list[tuple[float, float]] = []
    for number, place in enumerate(RowFiles(paths).places()):
        try:
            found += [(number, start_s) for start_s in _starts(row_at(place), segment_s)]
        except DataError:  # raised again for whoever reads the row
            found.append((number, 0.0))
    if not found:
        raise DataError(
            f"no examples in {', '.join(map(str, paths))}: every question comes after the end; "
            "correct the times"
        )
    return np.array(found)


def _end_s(row: ProactiveRow) -> float:
    """Where the dialogue ends: with its video, or with what is due last where no length is
    given."""
    last = [gold.span.end_s for gold in row.task.gold]
    last += [question.time_s for question in row.task.questions]
    return row.task.duration_s or max(last)


def _starts(row: ProactiveRow, segment_s: float) -> list[float]:
    """Where the segments of a dialogue begin."""
    asked_s = min(question.time_s for question in row.task.questions)
    num_segments = max(1, int(_end_s(row) / segment_s + 1e-9))
    starts = [round(n * segment_s, 9) for n in range(num_segments)]
    return [s for s in starts if asked_s <= _segment(row, s, segment_s).end_s]


def _segment(row: ProactiveRow, start_s: float, segment_s: float) -> TimeSpan:
    end_s = _end_s(row)
    is_last = start_s + 2 * segment_s > end_s + 1e-9
    return TimeSpan(start_s, max(start_s, end_s) if is_last else start_s + segment_s)


def _task(row: ProactiveRow, segment: TimeSpan) -> Task:
    name = f"{row.row_id}@{segment.start_s:g}-{segment.end_s:g}s"
    return replace(row.task, task_id=name)
