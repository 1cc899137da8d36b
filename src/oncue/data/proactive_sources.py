"""Proactive dialogues of files (`oncue.data.proactive_rows`) as training dialogues: the frames of
the video, and at the end of each reply span its reply (MMDuet2 section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.dialogue_sources import Item
from oncue.data.frame_index import Clip
from oncue.data.proactive_rows import EXPECTED, ProactiveRow, read_proactive_row
from oncue.data.row_files import Place, RowFiles
from oncue.data.row_frames import check_clip, grid_frames
from oncue.dialogue.write import Placement, write_dialogue
from oncue.errors import DataError
from oncue.render.actions import TextFormat
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.types import Task
from oncue.video.pool_reader import Shrink


@dataclass(frozen=True, slots=True)
class ProactiveSource:
    """The dialogues of the files `paths`, shuffled again in every epoch.

    `videos`: the folder of the videos; None: that of the file. `store`: a frame store, in place of
    the videos. `placement`: which turn of its span a reply is written into.
    """

    paths: tuple[Path, ...]
    videos: Path | None = None
    store: Path | None = None
    placement: Placement = Placement.END

    def __len__(self) -> int:
        return len(RowFiles(self.paths))

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,
    ) -> Item:
        """Row `index` of the shuffled epochs, with its frames. Raises DataError, with file and row,
        for a row that cannot be used, and for a reply that is due after the video."""
        place = RowFiles(self.paths).shuffled(index, seed)
        with place.named():
            row = row_at(place)
            length_s = row.task.duration_s
            frames = grid_frames(
                clip_of(row),
                clock,
                videos=folder_of(self.videos, place),
                store=self.store,
                end=None if length_s is None else max(1, clock.first_at_or_after(length_s)),
                shrink=shrink,
            )
            check_within(row.task, clock.time_of(len(frames)))
        dialogue = write_dialogue(
            row.task,
            len(frames),
            clock,
            system=PROACTIVE_SYSTEM,
            silence=TextFormat().silence_text,
            frames_per_turn=frames_per_turn,
            placement=self.placement,
            rng=np.random.default_rng((seed, index, 19)),
        )
        return dialogue, frames

    @contextmanager
    def named(self, index: int, seed: int) -> Iterator[None]:
        """What is wrong with row `index` is a DataError that begins with its file and number."""
        with RowFiles(self.paths).shuffled(index, seed).named():
            yield

    def checks(self, clock: Clock) -> Iterator[Callable[[], None]]:
        """A call for every row, which raises DataError for one that cannot be used."""
        return (
            partial(check_row, place, clock, self.videos, self.store)
            for place in RowFiles(self.paths).places()
        )


def row_at(place: Place) -> ProactiveRow:
    """The row at a place. Raises DataError for another form."""
    return read_proactive_row(place.read(EXPECTED), str(place))


def clip_of(row: ProactiveRow) -> Clip:
    """What the row shows."""
    return Clip(row.video, row.part)


def clips_of(paths: Sequence[Path]) -> Iterator[Clip]:
    """The clip of every dialogue of these files, in order; several may be about one. Raises
    DataError for a row that breaks the format."""
    return (clip_of(row_at(place)) for place in RowFiles(tuple(paths)).places())


def folder_of(videos: Path | None, place: Place) -> Path:
    """The folder that the videos of a row lie in."""
    return place.path.parent if videos is None else videos


def check_row(place: Place, clock: Clock, videos: Path | None, store: Path | None) -> None:
    """Raises DataError for a row that cannot be used. The head of its video is read, or its line in
    the index of the store."""
    with place.named():
        row = row_at(place)
        info = check_clip(clip_of(row), clock, videos=folder_of(videos, place), store=store)
        if info is not None and info.duration_s is not None:
            _check_part(row, info.duration_s, clock)


def _check_part(row: ProactiveRow, video_s: float, clock: Clock) -> None:
    start_s, end_s = (row.part.start_s, row.part.end_s) if row.part else (0.0, video_s)
    if start_s >= video_s:
        raise DataError(
            f"{row.video} ends at {video_s:g} s, before its part from {start_s:g} s on; correct "
            "the part, or leave the row out"
        )
    length_s = min(end_s, video_s) - start_s
    length_s = min(length_s, row.task.duration_s or length_s)
    check_within(row.task, length_s + clock.frame_interval_s)


def check_within(task: Task, end_s: float) -> None:
    """Raises DataError for a question or a reply after the last frame, at `end_s`."""
    late = [gold.span.start_s for gold in task.gold if gold.span.start_s > end_s]
    late += [question.time_s for question in task.questions if question.time_s > end_s]
    if late:
        raise DataError(
            f"something is due at {min(late):g} s, but the video ends at {end_s:g} s; correct "
            "the times or the part, or leave the row out"
        )
