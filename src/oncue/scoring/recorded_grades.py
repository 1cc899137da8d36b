"""Graders that read and write recorded judgements (`oncue.scoring.grade_lines`)."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from oncue.errors import DataError
from oncue.fields import NonEmptyText, field_as
from oncue.json_files import json_object
from oncue.scoring.grade_lines import EXPECTED, JUDGE, GradeLine, Place, grade_line, grade_row
from oncue.scoring.grader import GradeKey, Rubric, RunGrader
from oncue.scoring.score import Unscored
from oncue.types import TimedReply, TimeSpan

_RECORDED = ", recorded in "


def judge_behind(name: str) -> str:
    """Who decided, of the name of a grader: without the file where that was recorded."""
    return name.partition(_RECORDED)[0]


@dataclass(frozen=True, slots=True)
class _OfItem:
    """The judgements of one item: by place the value, and the number of its line. `used`: lines
    that were asked for."""

    levels: dict[Place, tuple[int, int]] = field(default_factory=dict)
    repeated: dict[Place, tuple[int, int]] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)


class ReplayGrader:
    """Grades as the lines of `path` say. A reply without a line is Unscored.

    All lines are checked at once, and then read again item by item, so a file may be of any length.
    Raises DataError, with the number of the line, for what breaks the format; from `grade` and
    `repeats`, for two lines that contradict and for a level out of the scale.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, array[int]] = {}  # of each item: number and offset of its lines
        self._open: dict[str, _OfItem] = {}
        self._judge, self.knows_repetition = "", False
        for number, offset, line in _numbered(path):
            where = self._where(number)
            row = json_object(line, where, EXPECTED)
            if number == 1 and row.keys() == {JUDGE}:
                self._judge = field_as(NonEmptyText, row, JUDGE, where)
                continue
            found = grade_line(row, where)
            self.knows_repetition |= found.is_repetition
            self._places.setdefault(found.item_id, array("Q")).extend((number, offset))

    @property
    def name(self) -> str:
        return f"{self._judge or 'unknown'}{_RECORDED}{self._path.name}"

    async def grade(
        self,
        rubric: Rubric,
        key: GradeKey,
        question: str,  # noqa: ARG002
        gold: str,  # noqa: ARG002
        said: str,  # noqa: ARG002
    ) -> int | Unscored:
        of_item = self._of(key.item_id)
        found = of_item.levels.get((key.index, key.time_s))
        if found is None:
            return Unscored(f"no line of {self._path.name} is about this reply")
        level, number = found
        of_item.used.add(number)
        if not rubric.lowest <= level <= rubric.highest:
            raise DataError(
                f"{self._where(number)}: 'level' must be {rubric.lowest} to {rubric.highest}, got "
                f"{level}"
            )
        return level

    async def repeats(
        self,
        key: GradeKey,
        previous: tuple[str, ...],  # noqa: ARG002
        new: str,  # noqa: ARG002
    ) -> bool | Unscored:
        of_item = self._of(key.item_id)
        for index in (key.index, None):
            if (found := of_item.repeated.get((index, key.time_s))) is not None:
                of_item.used.add(found[1])
                return bool(found[0])
        return Unscored(f"no line of {self._path.name} says whether this reply repeats")

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        """Raises DataError for a line that fits no reply. One about a reply that needed no judge,
        such as an exact duplicate, fits."""
        times, of_item = {reply.time_s for reply in replies}, self._of(item_id)
        for lines in (of_item.levels, of_item.repeated):
            for (index, time_s), (_, number) in lines.items():
                problem = _misfit(index, time_s, due, times)
                if number not in of_item.used and problem is not None:
                    raise DataError(
                        f"{self._where(number)}: {item_id!r} has {problem}; give the judgements of "
                        "these predictions"
                    )
        del self._open[item_id]
        self._places.pop(item_id, None)

    def end(self) -> None:
        for item_id, places in self._places.items():
            raise DataError(
                f"{self._where(places[0])}: no item is called {item_id!r}; give the judgements of "
                "these predictions"
            )

    def cost(self) -> str:
        return ""

    async def aclose(self) -> None:
        """There is no connection."""

    def _of(self, item_id: str) -> _OfItem:
        if item_id not in self._open:
            self._open[item_id] = self._read(item_id)
        return self._open[item_id]

    def _read(self, item_id: str) -> _OfItem:
        """Raises DataError for lines that contradict."""
        of_item, places = _OfItem(), self._places.get(item_id)
        if places is None:
            return of_item
        with self._path.open("rb") as file:
            for number, offset in zip(places[::2], places[1::2], strict=True):
                file.seek(offset)
                where = self._where(number)
                line = grade_line(json_object(file.readline(), where, EXPECTED), where)
                lines = of_item.repeated if line.is_repetition else of_item.levels
                value, first = lines.setdefault(line.place, (line.value, number))
                if value != line.value:
                    raise DataError(
                        f"{where} contradicts line {first}, which is about the same reply; drop "
                        "one of them"
                    )
        return of_item

    def _where(self, number: int) -> str:
        return f"{self._path}, line {number}"


def _numbered(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """The number, from 1, and the offset of each line that holds something, and the line."""
    offset = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, offset, line
                offset += len(line)
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); expected a file of JSON lines: {EXPECTED}"
        ) from error


def _misfit(
    index: int | None, time_s: float, due: Sequence[TimeSpan], times: set[float]
) -> str | None:
    """Why a judgement fits no reply; None where it does."""
    if time_s not in times:
        return f"no reply at {time_s:g} s"
    if index is None:
        return None
    if index >= len(due):
        return f"{len(due)} gold turns, counted from 0, and none is {index}"
    if time_s not in due[index]:
        span = due[index]
        return (
            f"a reply at {time_s:g} s, but gold turn {index} is from {span.start_s:g} to "
            f"{span.end_s:g} s"
        )
    return None


_Decided = dict[tuple[bool, Place], int]  # whether on repetition, and about what


class RecordingGrader:
    """Grades as `grader`, and writes what it decided to `file`, in the format above.

    Replies of one gold turn at the same instant share a line, which has the higher of their values.
    """

    def __init__(self, grader: RunGrader, file: TextIO) -> None:
        self._grader, self._file = grader, file
        self._decided: dict[str, _Decided] = {}  # by item
        self._write({JUDGE: grader.name})

    @property
    def name(self) -> str:
        return self._grader.name

    @property
    def knows_repetition(self) -> bool:
        return self._grader.knows_repetition

    async def grade(
        self, rubric: Rubric, key: GradeKey, question: str, gold: str, said: str
    ) -> int | Unscored:
        level = await self._grader.grade(rubric, key, question, gold, said)
        self._keep(key, level, is_repetition=False)
        return level

    async def repeats(self, key: GradeKey, previous: tuple[str, ...], new: str) -> bool | Unscored:
        verdict = await self._grader.repeats(key, previous, new)
        self._keep(key, verdict, is_repetition=True)
        return verdict

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        self._grader.end_item(item_id, due, replies)
        decided = self._decided.pop(item_id, {})
        for kind, place in sorted(decided, key=_in_order):
            self._write(grade_row(GradeLine(item_id, place, decided[kind, place], kind)))

    def end(self) -> None:
        self._grader.end()

    def cost(self) -> str:
        return self._grader.cost()

    async def aclose(self) -> None:
        await self._grader.aclose()

    def _keep(self, key: GradeKey, value: int | Unscored, *, is_repetition: bool) -> None:
        if not isinstance(value, Unscored):
            decided = self._decided.setdefault(key.item_id, {})
            what = (is_repetition, (key.index, key.time_s))
            decided[what] = max(value, decided.get(what, value))

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _in_order(what: tuple[bool, Place]) -> tuple[bool, int, float]:
    """Levels first, then by gold turn and time."""
    kind, (index, time_s) = what
    return kind, -1 if index is None else index, time_s
