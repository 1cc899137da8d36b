"""Rows for retrieval: a question about a video, its answer, and where that can be seen.

Read from JSON lines or a JSON array, in the style of Video-R1 and of the released rows of
Video-MTR; the last five keys may be left out, and all but the first of them are ours:

    {"problem_id", "problem", "data_type": "video", "problem_type", "options": ["A. ...", ...],
     "solution": "<answer>B</answer>", "path", "data_source",
     "relevant_sample_frames": [indices], "num_frames", "spans": [[s, s]], "duration", "task_type"}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.data.choices import (
    check_options,
    letters_of,
    marked_answer,
    read_answer,
    read_options,
)
from oncue.data.video_files import find_video
from oncue.errors import DataError
from oncue.fields import Count, IdText, Index, NonEmptyText, Seconds, VideoSpan, read_as
from oncue.files import replacing
from oncue.json_files import json_object, written_rows
from oncue.types import Evidence, Question, Task, TimeSpan
from oncue.video.pool import frames_within

EXPECTED = "a row, an object with problem_id, problem, options, solution and path"
MULTIPLE_CHOICE, FREE_FORM = "multiple choice", "free-form"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    data_type: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    problem_id: IdText
    problem: NonEmptyText
    problem_type: str | None = None
    options: Any = None
    solution: Any
    path: NonEmptyText
    data_source: str | None = None
    task_type: str | None = None
    duration: Seconds | None = None
    spans: tuple[VideoSpan, ...] | None = None
    relevant_sample_frames: tuple[Index, ...] | None = None
    num_frames: Count | None = None


class NoVideoError(DataError):
    """A row is about a picture."""


def released_pool_size(duration_s: float) -> int:
    """Frames of the pool that the released rows of Video-MTR count in: one a second, at most 64."""
    return max(1, min(64, int(duration_s)))


@dataclass(frozen=True, slots=True)
class RetrievalRow:
    """A question about a video and its right answer.

    `options`: in the form "A. ..."; `answer` is then the letter of one, else free text. `video`: as
    the row has it (see `video_in`). `source`: the data set it comes from; `task_type`: what kind of
    question it is there. Of the answer's place in the video are known, where they are: `spans` in
    seconds, and `frames`, indices of a pool of `num_frames`; where that is None, of one of
    `released_pool_size`. Raises DataError for values that contradict each other.
    """

    row_id: str
    question: str
    answer: str
    video: str
    options: tuple[str, ...] = ()
    problem_type: str = MULTIPLE_CHOICE
    source: str = ""
    task_type: str = ""
    duration_s: float | None = None
    spans: tuple[TimeSpan, ...] = ()
    frames: frozenset[int] | None = None
    num_frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("row_id", "question", "answer", "video", "problem_type"):
            if not getattr(self, name).strip():
                raise DataError(f"{name} must be non-empty text, got {getattr(self, name)!r}")
        check_options(self.options)
        if self.options and self.answer not in letters_of(self.options):
            raise DataError(
                f"the answer must be one of {', '.join(letters_of(self.options))}, got "
                f"{self.answer!r}"
            )
        if self.problem_type == MULTIPLE_CHOICE and not self.options:
            raise DataError(f"'options' is missing; a problem of type {MULTIPLE_CHOICE} needs them")
        if self.answer != self.answer.strip():
            raise DataError(f"the answer must not begin or end with a blank, got {self.answer!r}")
        if self.duration_s is not None and not 0 < self.duration_s < math.inf:
            raise DataError(f"'duration' must be more than 0 s, got {self.duration_s:g}")
        if any(span.start_s < 0 for span in self.spans):
            raise DataError(f"'spans' must not begin before 0 s, got {self.spans}")
        if self.num_frames is not None and self.frames is None:
            raise DataError("'num_frames' needs 'relevant_sample_frames'; give both or neither")
        if self.num_frames is not None and self.frames is not None:
            self._evidence_of(self.frames, self.num_frames)

    def task(self, num_frames: int | None = None, duration_s: float | None = None) -> Task:
        """The task that the row sets, for a pool of `num_frames` (None: its own) of a video of
        `duration_s` (None: the row's).

        Its evidence is the row's own `frames` where they are of a pool of that size, else what the
        `spans`, or else these frames, cover of that pool; None where the row has neither. Raises
        DataError where the size of a pool, or the duration that is needed, is not known.
        """
        length_s = self.duration_s if duration_s is None else duration_s
        return Task(
            self.row_id,
            (Question(self.question),),
            duration_s=length_s,
            options=self.options,
            answer=self.answer,
            evidence=self._evidence(num_frames, length_s),
        )

    def video_in(self, folder: Path) -> Path:
        """The file of the video in `folder`: at the path of the row, or at the longest end of it
        that is there. Raises DataError where there is none."""
        try:
            return find_video(self.video, folder)
        except DataError as error:
            raise DataError(f"row {self.row_id!r}: {error}") from error

    def plain(self) -> dict[str, Any]:
        """The row as JSON has it: what `read_row` reads. What is not known is left out."""
        row: dict[str, Any] = {
            "problem_id": self.row_id,
            "problem": self.question,
            "data_type": "video",
            "problem_type": self.problem_type,
            "options": list(self.options),
            "solution": marked_answer(self.answer),
            "path": self.video,
            "data_source": self.source,
        }
        if self.frames is not None:
            row["relevant_sample_frames"] = sorted(self.frames)
        if self.num_frames is not None:
            row["num_frames"] = self.num_frames
        if self.spans:
            row["spans"] = [[span.start_s, span.end_s] for span in self.spans]
        if self.duration_s is not None:
            row["duration"] = self.duration_s
        if self.task_type:
            row["task_type"] = self.task_type
        return row

    def _evidence(self, num_frames: int | None, length_s: float | None) -> Evidence | None:
        if self.frames is None and not self.spans:
            return None
        own = self.num_frames
        if own is None and self.frames is not None and length_s is not None:
            own = released_pool_size(length_s)
        shown = own if num_frames is None else num_frames
        if shown is None:
            raise self._unknown("the size of the pool", "give num_frames")
        if self.frames is not None and own == shown:
            return self._evidence_of(self.frames, shown)
        if self.spans:
            if length_s is None:
                raise self._unknown("the duration of the video", "give duration_s")
            return self._evidence_of(frames_within(self.spans, shown, length_s), shown)
        if own is None:
            raise self._unknown("the pool of its frames", "give duration_s")
        assert self.frames is not None
        self._evidence_of(self.frames, own)
        parts = [TimeSpan(i / own, (i + 1) / own) for i in sorted(self.frames)]
        return self._evidence_of(frames_within(parts, shown, 1.0), shown)

    def _evidence_of(self, frames: frozenset[int], num_frames: int) -> Evidence:
        try:
            return Evidence(frames, num_frames, self.spans)
        except ValueError as error:
            raise DataError(f"row {self.row_id!r}: {error}") from error

    def _unknown(self, what: str, remedy: str) -> DataError:
        return DataError(f"row {self.row_id!r}: {what} is not known; {remedy}")


def read_rows(path: Path | str) -> tuple[RetrievalRow, ...]:
    """The rows of a file, in order. Raises DataError, with file, row and field, for the first that
    breaks the format, and for a file without rows."""
    rows = []
    for line in row_lines(path):
        if isinstance(line, DataError):
            raise line
        rows.append(line)
    return tuple(rows)


def row_lines(path: Path | str) -> Iterator[RetrievalRow | DataError]:
    """Every row of a file, or what is wrong with one that breaks the format (NoVideoError: it is
    about a picture). Raises DataError for a file that cannot be read, or has no rows."""
    empty = True
    for where, written in written_rows(Path(path), EXPECTED):
        empty = False
        try:
            yield read_row(json_object(written, where, EXPECTED), where)
        except DataError as error:
            yield error
    if empty:
        raise DataError(f"{path} holds no row; expected JSON lines or an array of rows: {EXPECTED}")


def read_row(value: Any, where: str) -> RetrievalRow:
    """The row that one JSON object holds. Raises DataError, which begins with `where`."""
    kind = read_as(_Kind, value, where).data_type
    if kind not in (None, "video"):
        raise NoVideoError(
            f"{where}: 'data_type' must be 'video', got {kind!r:.40}; leave the row out"
        )
    row = read_as(_Row, value, where)
    options, frames = read_options(row.options, where), row.relevant_sample_frames
    named: dict[str, Any] = {
        "row_id": row.problem_id,
        "question": row.problem,
        "answer": read_answer(row.solution, options, where, "solution"),
        "video": row.path,
        "options": options,
        "problem_type": row.problem_type or (MULTIPLE_CHOICE if options else FREE_FORM),
        "source": row.data_source or "",
        "task_type": row.task_type or "",
        "duration_s": row.duration,
        "spans": row.spans or (),
        "frames": None if frames is None else frozenset(frames),
        "num_frames": row.num_frames,
    }
    try:
        return RetrievalRow(**named)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def write_rows(path: Path | str, rows: Iterable[RetrievalRow]) -> None:
    """Writes rows that `read_rows` reads, in one step: a JSON array where the name ends in .json,
    else JSON lines."""
    lines = (json.dumps(row.plain(), ensure_ascii=False, allow_nan=False) for row in rows)
    with replacing(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        if Path(path).suffix == ".json":
            file.write("[\n" + ",\n".join(lines) + "\n]\n")
        else:
            file.writelines(line + "\n" for line in lines)
