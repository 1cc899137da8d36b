"""Recorded judgements of the replies to a benchmark, in JSON lines.

    {"judge"}                                                    first line, optional: who judged
    {"question_id", "answer_index", "time", "level"}             a level of the benchmark's scale
    {"question_id", "kind": "repetition", "answer_index"?, "time", "repeated"}       true or false

`answer_index` is the gold turn, from 0; `index` is another name of it, for benchmarks that have no
answers. `time` is that of the reply. A line on repetition without it holds for the reply in every
gold turn, and in the whole dialogue. What a judge could not decide has no line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from oncue.errors import DataError
from oncue.fields import field_of, has_value, id_of, json_lines, seconds_of, text_of
from oncue.scoring.grader import GradeKey, Rubric, RunGrader
from oncue.scoring.score import Unscored
from oncue.types import TimedReply, TimeSpan

PREFIX = "replay:"
EXPECTED = (
    'a judgement, {"question_id", "answer_index", "time", "level"} or '
    '{"question_id", "kind": "repetition", "time", "repeated": true|false}'
)
_KINDS = ("coverage", "repetition")
_JUDGE = "judge"

_Place = tuple[int | None, float]  # gold turn and time
_Decided = dict[_Place, tuple[int, str]]  # the value, and where its line is


class ReplayGrader:
    """Grades as the lines of `path` say. A reply without a line is Unscored.

    Raises DataError, with the number of the line, for what breaks the format and for two lines that
    contradict; from `grade`, for a level out of the scale.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._levels: dict[str, _Decided] = {}
        self._repeated: dict[str, _Decided] = {}
        self._used: set[str] = set()  # lines about items that are not at their end
        self._judge = ""
        for number, (where, row) in enumerate(json_lines(path, EXPECTED)):
            if number == 0 and _JUDGE in row:
                self._judge = text_of(row, _JUDGE, where)
            else:
                self._take(row, where)
        self.knows_repetition = bool(self._repeated)

    @property
    def name(self) -> str:
        return f"{self._judge or 'unknown'}, recorded in {self._path.name}"

    async def grade(
        self,
        rubric: Rubric,
        key: GradeKey,
        question: str,  # noqa: ARG002
        gold: str,  # noqa: ARG002
        said: str,  # noqa: ARG002
    ) -> int | Unscored:
        level = self._find(self._levels, key.item_id, (key.index, key.time_s))
        if level is None:
            return Unscored(f"no line of {self._path.name} is about this reply")
        value, where = level
        if not rubric.lowest <= value <= rubric.highest:
            raise DataError(
                f"{where}: 'level' must be {rubric.lowest} to {rubric.highest}, got {value}"
            )
        return value

    async def repeats(
        self,
        key: GradeKey,
        previous: tuple[str, ...],  # noqa: ARG002
        new: str,  # noqa: ARG002
    ) -> bool | Unscored:
        verdict = self._find(self._repeated, key.item_id, (key.index, key.time_s))
        if verdict is None:
            verdict = self._find(self._repeated, key.item_id, (None, key.time_s))
        if verdict is None:
            return Unscored(f"no line of {self._path.name} says whether this reply repeats")
        return bool(verdict[0])

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        """Drops the lines about the item. Raises DataError for one that fits no reply; one about a
        reply that needed no judge, such as an exact duplicate, fits."""
        times = {reply.time_s for reply in replies}
        for decided in (self._levels, self._repeated):
            for (index, time_s), (_, where) in decided.pop(item_id, {}).items():
                if where in self._used:
                    self._used.remove(where)
                elif problem := _misfit(index, time_s, due, times):
                    raise DataError(
                        f"{where}: {item_id!r} has {problem}; give the judgements of these "
                        "predictions"
                    )

    def end(self) -> None:
        left = self._levels or self._repeated
        for item_id, decided in left.items():
            _, where = next(iter(decided.values()))
            raise DataError(
                f"{where}: no item is called {item_id!r}; give the judgements of these predictions"
            )

    def cost(self) -> str:
        return ""

    async def aclose(self) -> None:
        """There is no connection."""

    def _find(
        self, decided: Mapping[str, _Decided], item_id: str, place: _Place
    ) -> tuple[int, str] | None:
        found = decided.get(item_id, {}).get(place)
        if found is not None:
            self._used.add(found[1])
        return found

    def _take(self, row: Mapping[str, Any], where: str) -> None:
        """Keeps what a line says."""
        kind = row.get("kind", "coverage")
        if kind not in _KINDS:
            raise DataError(f"{where}: unknown kind {kind!r:.80}; expected {EXPECTED}")
        item_id, time_s = id_of(row, "question_id", where), seconds_of(row, "time", where)
        index = _index_of(row, where, optional=kind == "repetition")
        if kind == "repetition":
            value, of_all = field_of(row, "repeated", where), self._repeated
            if not isinstance(value, bool):
                raise DataError(f"{where}: 'repeated' must be true or false, got {value!r:.80}")
        else:
            value, of_all = _whole(row, "level", where), self._levels
        first = of_all.setdefault(item_id, {}).setdefault((index, time_s), (int(value), where))
        if first[0] != int(value):
            raise DataError(
                f"{where} contradicts {first[1]}, which is about the same reply; drop one of them"
            )


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


def _index_of(row: Mapping[str, Any], where: str, *, optional: bool) -> int | None:
    name = "index" if "answer_index" not in row and "index" in row else "answer_index"
    if optional and not has_value(row, name):
        return None
    return _whole(row, name, where)


def _whole(row: Mapping[str, Any], name: str, where: str) -> int:
    value = field_of(row, name, where)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: {name!r} must be a whole number, 0 or more, got {value!r:.80}")
    return value


class RecordingGrader:
    """Grades as `grader`, and writes what it decided to `file`, in the format above.

    Replies of one gold turn at the same instant share a line, which has the higher of their values.
    """

    def __init__(self, grader: RunGrader, file: TextIO) -> None:
        self._grader, self._file = grader, file
        self._levels: dict[GradeKey, int] = {}
        self._repeated: dict[GradeKey, int] = {}
        self._write({_JUDGE: grader.name})

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
        if not isinstance(level, Unscored):
            self._levels[key] = max(level, self._levels.get(key, level))
        return level

    async def repeats(self, key: GradeKey, previous: tuple[str, ...], new: str) -> bool | Unscored:
        verdict = await self._grader.repeats(key, previous, new)
        if not isinstance(verdict, Unscored):
            self._repeated[key] = max(verdict, self._repeated.get(key, verdict))
        return verdict

    def end_item(
        self, item_id: str, due: Sequence[TimeSpan], replies: Sequence[TimedReply]
    ) -> None:
        self._grader.end_item(item_id, due, replies)
        for line in self._lines(item_id):
            self._write(line)

    def end(self) -> None:
        self._grader.end()

    def cost(self) -> str:
        return self._grader.cost()

    async def aclose(self) -> None:
        await self._grader.aclose()

    def _lines(self, item_id: str) -> Iterator[dict[str, Any]]:
        """What was decided about the item, which is then forgotten."""
        for decided, kind in ((self._levels, "coverage"), (self._repeated, "repetition")):
            keys = [key for key in decided if key.item_id == item_id]
            for key in sorted(keys, key=lambda k: (-1 if k.index is None else k.index, k.time_s)):
                value = decided.pop(key)
                row: dict[str, Any] = {"question_id": item_id}
                if kind == "repetition":
                    row["kind"] = kind
                if key.index is not None:
                    row["answer_index"] = key.index
                row["time"] = key.time_s
                if kind == "repetition":
                    row["repeated"] = bool(value)
                else:
                    row["level"] = value
                yield row

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
