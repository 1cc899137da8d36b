"""A look at all rows before a run begins: their form, and the heads of the files they name. Nothing
is decoded but the first frame of each video, so a file that is cut off is found only when it is
read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from oncue.clock import Clock
from oncue.data.dialogue_sources import RowLine, RowSource
from oncue.data.mixed_source import FileRows
from oncue.data.proactive_sources import ProactiveSource
from oncue.data.row_examples import ExampleRow, RowExamples
from oncue.dialogue.frames import video_of
from oncue.dialogue.pictures import picture_size_px
from oncue.errors import DataError, DialogueError, InputError
from oncue.render.images import FrameProcessor
from oncue.video.probe import VideoInfo, probe

HowMany = Literal["all", "sample", "none"]
SAMPLE = 1000  # rows of a sample
Check = Callable[[], None]


class HasRows(Protocol):
    """Settings of a run that may train on rows of files."""

    @property
    def seed(self) -> int: ...

    def row_checks(self) -> Iterator[Check]: ...


def row_checks(config: HasRows, how_many: HowMany) -> list[Check]:
    """A call for every row of the files a run trains on, or for a sample of `SAMPLE` of them drawn
    by its seed. Each raises DialogueError or DataError, with file and row, for a row that cannot be
    used."""
    checks = [] if how_many == "none" else list(config.row_checks())
    if how_many == "sample" and len(checks) > SAMPLE:
        chosen = np.random.default_rng(config.seed).choice(len(checks), SAMPLE, replace=False)
        return [checks[number] for number in sorted(chosen)]
    return checks


def what_is_wrong(checks: Sequence[Check], step: Callable[[], None]) -> list[str]:
    """What the checks raise. `step()` is called after each."""
    found = []
    for check in checks:
        try:
            check()
        except (DataError, DialogueError) as error:
            found.append(str(error))
        step()
    return found


def source_checks(sources: Sequence[FileRows], clock: Clock) -> Iterator[Check]:
    """A call for every row of these sources."""
    files = _Files()
    for source in sources:
        if isinstance(source, RowSource):
            yield from (partial(_check_dialogue, row, files) for row in source.rows())
        elif isinstance(source, ProactiveSource):
            yield from source.checks(clock)
        else:
            yield from source.checks()


def example_checks(examples: RowExamples, clock: Clock, frames_per_turn: int) -> Iterator[Check]:
    """A call for every row of these examples."""
    files = _Files()
    return (
        partial(_check_example, line, examples, clock, frames_per_turn, files)
        for line in examples.lines()
    )


def _check_dialogue(row: RowLine, files: _Files) -> None:
    _, images = row.parse()
    with row.named():
        for image in images:
            files.look_at(image)


def _check_example(
    line: ExampleRow | DataError,
    examples: RowExamples,
    clock: Clock,
    frames_per_turn: int,
    files: _Files,
) -> None:
    if isinstance(line, DataError):
        raise line
    examples.segment_frames(line, clock, frames_per_turn)
    try:
        files.look_at_video(str(line.video))
    except InputError as error:
        raise DataError(f"{line.where}: {error}") from error


@dataclass(slots=True)
class _Files:
    """Looks at each file once, and remembers what was wrong with it."""

    seen: dict[str, str] = field(default_factory=dict)

    def look_at(self, image: Path) -> None:
        """Raises InputError for a picture, or the video of a moment, that cannot be shown."""
        video = video_of(image)
        if video is None:
            self._once(str(image), lambda: FrameProcessor().resized_px(*picture_size_px(image)))
        else:
            self.look_at_video(video)

    def look_at_video(self, video: str) -> None:
        self._once(video, lambda: _shown_size(probe(video)))

    def _once(self, name: str, look: Callable[[], object]) -> None:
        if name not in self.seen:
            try:
                look()
                self.seen[name] = ""
            except InputError as error:
                self.seen[name] = str(error)
        if self.seen[name]:
            raise DataError(self.seen[name])


def _shown_size(info: VideoInfo) -> tuple[int, int]:
    return FrameProcessor().resized_px(info.height_px, info.width_px)
