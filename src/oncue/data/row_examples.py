"""Examples from users' videos: JSON lines, each a segment to be watched and what was due before and
in it.

    {"example_id", "video", "segment": [start_s, end_s], "questions": [{"time_s", "text"}],
     "gold": [{"question", "content", "reply_timespan": [a, b], "visible_s"}]}

`visible_s` may be left out. All before the segment is history: shown with its gold replies, never
trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from oncue.clock import Clock
from oncue.data.examples import RolloutExample
from oncue.data.segments import SegmentRules
from oncue.dialogue.frames import local_path, locate
from oncue.dialogue.write import Placement
from oncue.errors import ConfigError, DataError, InputError, VideoError
from oncue.fields import NonEmptyText, Seconds, Span, WideSpan, read_as
from oncue.json_files import filled_lines, json_lines, json_object
from oncue.types import GoldTurn, Question, Task, TimeSpan
from oncue.video.pool_reader import Shrink
from oncue.video.source import FileSource, frames_of

EXPECTED = "an example, an object with example_id, video, segment, questions and gold"
SEGMENT_S = (20.0, 60.0)  # usual lengths (paper section 4.3.1)


def _segment(span: TimeSpan) -> TimeSpan:
    if span.start_s < 0 or span.duration_s <= 0:
        raise ValueError(
            f"must be [start, end] with 0 <= start < end, got [{span.start_s:g}, {span.end_s:g}]"
        )
    return span


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    text: NonEmptyText
    time_s: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gold:
    question: NonEmptyText
    content: NonEmptyText
    reply_timespan: WideSpan
    visible_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleLine:
    """One line as it is written. Read with `oncue.fields.read_as`."""

    example_id: NonEmptyText
    video: NonEmptyText
    segment: Annotated[Span, AfterValidator(_segment)]
    questions: tuple[_Question, ...]
    gold: tuple[_Gold, ...]

    def task(self) -> Task:
        """What is asked, and what is due."""
        questions = tuple(Question(question.text, question.time_s) for question in self.questions)
        gold = tuple(
            GoldTurn(turn.content, turn.reply_timespan, turn.question, turn.visible_s)
            for turn in self.gold
        )
        return Task(self.example_id, questions, gold)


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One line. `where`: its file and line. `video`: as found from there."""

    where: str
    video: Path
    segment: TimeSpan
    task: Task


@dataclass(frozen=True, slots=True)
class RowExamples:
    """The examples of JSONL files, in their order, again and again.

    At most `max_history_turns` turns of history are shown, and at most `max_frames` frames in all
    (paper section 4.3.1: 90 at 2 s): the oldest turns are left out, and the questions asked in them
    are in the first turn that is shown. `placement`: where gold replies are in the history.
    """

    paths: tuple[Path, ...]
    max_history_turns: int = 40
    max_frames: int = 90
    placement: Placement = Placement.END

    def __post_init__(self) -> None:
        if self.max_history_turns < 0 or self.max_frames < 1:
            raise ConfigError(
                "examples need max_history_turns >= 0 and max_frames >= 1, got "
                f"{self.max_history_turns} and {self.max_frames}"
            )

    def __len__(self) -> int:
        return len(self.lines())

    def lines(self) -> tuple[ExampleRow | DataError, ...]:
        """Every line, or what is wrong with one that breaks the format. Raises DataError for files
        without any."""
        return _lines(self.paths)

    def rows(self, *, skip_bad: bool = False) -> tuple[ExampleRow, ...]:
        """Every line. One that breaks the format is left out with `skip_bad`; else its DataError is
        raised, with file and line."""
        return tuple(
            _usable(line) for line in self.lines() if not (skip_bad and isinstance(line, DataError))
        )

    @contextmanager
    def named(self, index: int) -> Iterator[None]:
        """What is wrong with example number `index` is a DataError that begins with its file and
        line."""
        lines = self.lines()
        try:
            yield
        except InputError as error:
            raise DataError(f"{_usable(lines[index % len(lines)]).where}: {error}") from error

    def check_lengths(self, clock: Clock, frames_per_turn: int) -> None:
        """Raises DataError for a segment of more frames than `max_frames`, wherever in the files it
        is."""
        for row in self.rows():
            self.segment_frames(row, clock, frames_per_turn)

    def segment_frames(self, row: ExampleRow, clock: Clock, frames_per_turn: int) -> int:
        """How many frames the segment of `row` has. Raises DataError for more than `max_frames`."""
        return self._rules.num_frames(row.segment, row.where, clock, frames_per_turn)

    @property
    def _rules(self) -> SegmentRules:
        return SegmentRules(self.max_history_turns, self.max_frames, self.placement)

    @property
    def has_exact_judge(self) -> bool:
        return False

    @property
    def is_retrieval(self) -> bool:
        return False

    @property
    def num_rows(self) -> int | None:
        return len(self)

    def reread(self) -> None:
        """Read the files once more when they are next needed."""
        forget_examples()

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,  # noqa: ARG002 - of a segment there are few
    ) -> RolloutExample:
        """Example number `index`, from the first line again after the last. Raises DataError for
        what cannot be shown: a line that breaks the format, an unreadable video, or a segment that
        holds no turn, or more frames than `max_frames`."""
        lines = self.lines()
        row = _usable(lines[index % len(lines)])
        return self._rules.example(
            row.task,
            row.segment,
            row.where,
            lambda first, end: _frames(row, clock, first, end),
            clock,
            frames_per_turn,
            seed,
            index,
        )


def unusual_segments(rows: Sequence[ExampleRow]) -> str | None:
    """What to warn of where segments are shorter or longer than usual, None where none is."""
    low, high = SEGMENT_S
    odd = [row for row in rows if not low <= row.segment.duration_s <= high]
    if not odd:
        return None
    too_short = (
        "in short ones little can be due"
        if any(row.segment.duration_s < low for row in odd)
        else ""
    )
    too_long = (
        "long ones have too sparse a reward"
        if any(row.segment.duration_s > high for row in odd)
        else ""
    )
    return (
        f"{len(odd)} of {len(rows)} examples have a segment shorter than {low:g} s or longer than "
        f"{high:g} s, the "
        f"first in {odd[0].where} ({odd[0].segment.duration_s:g} s); "
        f"{', '.join(filter(None, (too_short, too_long)))}"
    )


def check_held_out(rows: Iterable[ExampleRow], trained: Sequence[Path]) -> None:
    """Raises DataError for an example whose video is in files of supervised rows.

    Videos are the same where their names are, without folder and ending. A row names its
    `video_id`, its `video`, the videos of its moments, and the folders of its pictures.
    """
    seen: dict[str, str] = {}
    for path in trained:
        for where, row in json_lines(path, "a row of supervised training, an object"):
            for name in _videos_of(row):
                seen.setdefault(name, where)
    for example in rows:
        name = example.video.stem
        if name in seen:
            raise DataError(
                f"{example.where}: example {example.task.task_id!r} shows the video {name!r}, "
                "which was trained on "
                f"({seen[name]}); leave the example out, or name other files with --held-out-from"
            )


def _videos_of(row: Mapping[str, Any]) -> set[str]:
    metadata, images = row.get("metadata"), row.get("images")
    names = (
        {Path(str(metadata["video_id"])).stem}
        if isinstance(metadata, Mapping) and "video_id" in metadata
        else set()
    )
    if isinstance(row.get("video"), str):
        names.add(Path(str(row["video"]).replace("\\", "/")).stem)
    for image in images if isinstance(images, list) else []:
        path = local_path(
            str(image["path"] if isinstance(image, Mapping) and "path" in image else image)
        )
        video, moment, _ = str(path).replace("\\", "/").partition("#t=")
        names.add(Path(video).stem if moment else Path(video).parent.name)
    return names - {""}


def forget_examples() -> None:
    """Examples are read from their files again: these may have been edited since. During a run they
    stay what they were."""
    _lines.cache_clear()


@lru_cache(maxsize=4)
def _lines(paths: tuple[Path, ...]) -> tuple[ExampleRow | DataError, ...]:
    rows: list[ExampleRow | DataError] = []
    places: dict[str, str] = {}
    for path in paths:
        for where, line in filled_lines(path, EXPECTED):
            try:
                row = _row(json_object(line, where, EXPECTED), where, path.parent)
                name = row.task.task_id
                if name in places:
                    raise DataError(f"{where}: example_id {name!r} is in {places[name]} too")
            except DataError as error:
                rows.append(DataError(*error.args))
                continue
            places[name] = where
            rows.append(row)
    if not rows:
        raise DataError(
            f"no examples in {', '.join(map(str, paths)) or 'no files'}; expected {EXPECTED} on "
            "each line"
        )
    return tuple(rows)


def _usable(line: ExampleRow | DataError) -> ExampleRow:
    if isinstance(line, DataError):
        raise DataError(*line.args)
    return line


def _row(value: Mapping[str, Any], where: str, folder: Path) -> ExampleRow:
    line = read_as(ExampleLine, value, where)
    video = locate(local_path(line.video), folder)
    if not video.is_file():
        raise DataError(
            f"{where}: there is no video {video}; give its path from the folder of the file"
        )
    if not any(question.time_s <= line.segment.end_s for question in line.questions):
        raise DataError(
            f"{where}: no question is asked before the segment ends; there is nothing to reply to"
        )
    return ExampleRow(where, video, line.segment, line.task())


def _frames(row: ExampleRow, clock: Clock, first: int, end: int) -> list[np.ndarray]:
    """Grid frames number `first` to `end` - 1, fewer where the video ends before."""
    try:
        source = FileSource(row.video, clock.frame_interval_s)
        try:
            return [batch.pixels[0] for batch in islice(frames_of(source), first, end)]
        finally:
            source.close()
    except VideoError as error:
        raise DataError(f"{row.where}: {error}") from error
