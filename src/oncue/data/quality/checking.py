"""All faults of files of rows, file by file and row by row. A few rows are in memory at a time,
however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from oncue.aio import completed
from oncue.data.proactive_rows import EXPECTED, ProactiveRow, form_faults, read_proactive_row
from oncue.data.quality.faults import Fault, FaultKind, Finding, Place
from oncue.data.quality.gold_judging import judged
from oncue.data.quality.media import Media
from oncue.data.quality.places import Places
from oncue.data.quality.row_rules import row_findings
from oncue.data.quality.sft_rules import sft_findings, sft_id
from oncue.data.quality.token_counts import TokenCounter
from oncue.data.quality.turn_grid import TurnGrid
from oncue.errors import DataError
from oncue.json_files import json_object, written_rows
from oncue.scoring.judge import Judge

_BATCH = 32  # rows whose gold replies are judged at once
_EXPECTED_SFT = "an SFT row, an object with messages"
_SPANS = ("reply_timespan", "span", "part")
Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Checks:
    """What rows are checked for. `tokens` None: tokens are not counted; `judge` None: gold is not
    judged; `look_at_pictures`: of SFT rows."""

    grid: TurnGrid
    media: Media
    tokens: TokenCounter | None = None
    judge: Judge | None = None
    look_at_pictures: bool = True


def check_rows(paths: Sequence[Path], checks: Checks, step: Step) -> Iterator[Fault]:
    """The faults of files of proactive rows, in their order. `step()` is called after each row.
    Raises DataError for a file that cannot be read, and as the judge does."""
    seen = Places()
    try:
        rows_left = _read(paths, EXPECTED)
        while some := list(islice(rows_left, _BATCH)):
            looked = [_looked_at(place, written, checks, seen) for place, written in some]
            rows = [row for _, row, _ in looked if row is not None]
            marks = iter(completed(judged(rows, checks.judge)) if checks.judge else ())
            for place, row, findings in looked:
                more = next(marks, []) if row is not None else []
                yield from (Fault(place, finding) for finding in (*findings, *more))
                step()
    finally:
        seen.close()


def check_sft_rows(paths: Sequence[Path], checks: Checks, step: Step) -> Iterator[Fault]:
    """As `check_rows`, of rows in the official SFT format."""
    seen = Places()
    media = checks.media if checks.look_at_pictures else None
    try:
        for place, written in _read(paths, _EXPECTED_SFT):
            try:
                row = json_object(written, str(place), _EXPECTED_SFT)
            except DataError as error:
                yield Fault(place, _form(str(error), place))
                step()
                continue
            named = replace(place, row_id=sft_id(row))
            folder = Path(place.file).parent
            findings = list(_repeated(named, seen))
            findings += sft_findings(row, str(place), folder, media, checks.tokens)
            yield from (Fault(named, finding) for finding in findings)
            step()
    finally:
        seen.close()


def num_rows(paths: Sequence[Path]) -> int:
    """How many rows the files hold. Raises DataError for one that cannot be read, or has none."""
    total = 0
    for path in paths:
        here = sum(1 for _ in written_rows(path, EXPECTED))
        if not here:
            raise DataError(f"{path} holds no row; expected {EXPECTED} on each line")
        total += here
    return total


def _read(paths: Sequence[Path], expected: str) -> Iterator[tuple[Place, object]]:
    for path in paths:
        for where, written in written_rows(path, expected):
            unit, _, number = where.removeprefix(f"{path}, ").partition(" ")
            yield Place(str(path), unit, int(number)), written


def _looked_at(
    place: Place, written: object, checks: Checks, seen: Places
) -> tuple[Place, ProactiveRow | None, list[Finding]]:
    """The row, if it is one, and all that is wrong with it but for what a judge says."""
    try:
        value = json_object(written, str(place), EXPECTED)
    except DataError as error:
        return place, None, [_form(str(error), place)]
    row_id = value.get("row_id")
    place = replace(place, row_id=row_id if isinstance(row_id, str) else "")
    faults = form_faults(value, str(place))
    if faults:
        return place, None, [_form(said, place, field) for field, said in faults]
    row = read_proactive_row(value, str(place))
    look = checks.media.of_row(row)
    findings = [*_repeated(place, seen), *look.findings]
    if row.task.duration_s is None and look.length_s:
        row = replace(row, task=replace(row.task, duration_s=look.length_s))
    findings += row_findings(row, checks.grid)
    if checks.tokens is not None and look.size_px is not None:
        findings += checks.tokens.row_findings(row, checks.grid, look.size_px)
    return place, row, findings


def _form(said: str, place: Place, field: str = "") -> Finding:
    """The finding that a message of `oncue.fields` or `oncue.json_files` is, with its place taken
    out."""
    kind = FaultKind.EMPTY_SPAN if field in _SPANS else FaultKind.FORM
    turn, rest = "", said.removeprefix(str(place))
    if rest.startswith(", "):
        turn, _, rest = rest.removeprefix(", ").partition(": ")
    words = f"it {rest.strip()}" if rest.startswith(" ") else rest.removeprefix(": ")
    return Finding(kind, words, "correct the row, or drop it", turn)


def _repeated(place: Place, seen: Places) -> Iterator[Finding]:
    if not place.row_id:
        return
    first = seen.first(place.row_id, str(place))
    if first != str(place):
        said = f"its id {place.row_id!r:.60} is that of {first}, too"
        yield Finding(FaultKind.REPEATED_ID, said, "give each row an id of its own")
