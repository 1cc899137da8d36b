"""Rows of others as ours: what can be used, and what cannot and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from oncue.data.retrieval_rows import NoVideoError, RetrievalRow, row_lines
from oncue.errors import DataError


@dataclass(frozen=True, slots=True)
class ImportedRows:
    """The rows of a file that can be used, in order; what is wrong with those that cannot; and how
    many are about pictures, which are left out."""

    rows: tuple[RetrievalRow, ...]
    faults: tuple[DataError, ...]
    num_pictures: int

    @property
    def num_by_type(self) -> Mapping[str, int]:
        """How many rows there are of each type of problem."""
        return dict(Counter(row.problem_type for row in self.rows).most_common())

    @property
    def num_with_evidence(self) -> int:
        """How many rows say where the answer can be seen."""
        return sum(row.frames is not None or bool(row.spans) for row in self.rows)

    @property
    def num_repeated_ids(self) -> int:
        """How many rows have the id of a row before them."""
        return len(self.rows) - len({row.row_id for row in self.rows})


def import_rows(
    path: Path, num_frames: int | None = None, videos: Path | None = None
) -> ImportedRows:
    """The rows of a file in the style of Video-R1, or of the released rows of Video-MTR.

    `num_frames`: of the pool that relevant frames count in, for rows that do not say it. `videos`:
    a row whose video is not in this folder cannot be used. Raises DataError for a file that cannot
    be read, or has no rows.
    """
    rows: list[RetrievalRow] = []
    faults: list[DataError] = []
    num_pictures = 0
    for line in row_lines(path):
        if isinstance(line, NoVideoError):
            num_pictures += 1
        elif isinstance(line, DataError):
            faults.append(line)
        else:
            try:
                rows.append(_checked(line, num_frames, videos))
            except DataError as error:
                faults.append(error)
    return ImportedRows(tuple(rows), tuple(faults), num_pictures)


def _checked(row: RetrievalRow, num_frames: int | None, videos: Path | None) -> RetrievalRow:
    if num_frames is not None and row.frames is not None and row.num_frames is None:
        row = replace(row, num_frames=num_frames)
    if videos is not None:
        row.video_in(videos)
    return row
