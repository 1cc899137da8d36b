"""QVHighlights: sentences about moments of videos of about 150 s, with the windows that show them.

`highlight_train_release.jsonl` and `highlight_val_release.jsonl`, JSON lines of {qid, query, vid,
duration, relevant_windows: [[s, s], ...]}; other keys are ignored. The test split has no windows.
The sentences are no questions yet: see `question_writer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.data.curate.question_prompt import Outcome, Rejected, WrittenQuestion
from oncue.data.curate.question_writer import deal
from oncue.data.retrieval_rows import RetrievalRow
from oncue.errors import DataError
from oncue.fields import Duration, IdText, NonEmptyText, VideoSpan, read_as
from oncue.files import replacing
from oncue.json_files import filled_lines, json_object
from oncue.types import TimeSpan

SOURCE = "QVHighlights"
EXPECTED = "a row of QVHighlights, an object with qid, query, vid, duration and relevant_windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    qid: IdText
    query: NonEmptyText
    vid: NonEmptyText
    duration: Duration
    relevant_windows: tuple[VideoSpan, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A sentence about moments of a video."""

    row_id: str
    sentence: str
    video: str
    duration_s: float
    spans: tuple[TimeSpan, ...]


def read_queries(paths: Sequence[Path]) -> list[Query | DataError]:
    """The queries of all these files, in order, or what is wrong with one that breaks the format,
    by file and line. Raises DataError for files that cannot be read, or hold none."""
    queries = [query for path in paths for query in _lines(path)]
    if not queries:
        raise DataError(f"{', '.join(map(str, paths)) or 'no file'}: no query; expected {EXPECTED}")
    return queries


def rows_of(
    queries: Sequence[Query], outcomes: Mapping[str, Outcome], seed: int
) -> list[RetrievalRow]:
    """A row without frames for each query whose sentence became a question. `seed` deals the places
    of the right options."""
    pairs = [
        (query, outcome)
        for query in queries
        if isinstance(outcome := outcomes[query.sentence], WrittenQuestion)
    ]
    rows = []
    for (query, written), (options, letter) in zip(
        pairs, deal([written for _, written in pairs], seed), strict=True
    ):
        rows.append(
            RetrievalRow(
                row_id=query.row_id,
                question=written.question,
                answer=letter,
                video=query.video,
                options=options,
                source=SOURCE,
                duration_s=query.duration_s,
                spans=query.spans,
            )
        )
    return rows


def rejections(
    queries: Sequence[Query], outcomes: Mapping[str, Outcome]
) -> list[tuple[Query, Rejected]]:
    """The queries whose sentences became no question, and why."""
    return [
        (query, outcome)
        for query in queries
        if isinstance(outcome := outcomes[query.sentence], Rejected)
    ]


def write_rejections(path: Path, rejected: Iterable[tuple[Query, Rejected]]) -> None:
    """Writes JSON lines {problem_id, query, kind, reason}, in one step."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for query, why in rejected:
            row = {"problem_id": query.row_id, "query": query.sentence}
            row |= {"kind": why.kind, "reason": why.reason}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _lines(path: Path) -> Iterator[Query | DataError]:
    for where, line in filled_lines(path, EXPECTED):
        try:
            yield _query(json_object(line, where, EXPECTED), where)
        except DataError as error:
            yield error


def _query(value: Any, where: str) -> Query:
    row = read_as(_Row, value, where)
    return Query(
        row_id=f"qvhighlights_{row.qid}",
        sentence=row.query,
        video=f"{row.vid}.mp4",
        duration_s=row.duration,
        spans=row.relevant_windows,
    )
