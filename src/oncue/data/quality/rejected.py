"""What a build has rejected: JSON lines of {video_id, step, kind, reason}."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oncue.fields import AnyText, NonEmptyText, rows_in

_EXPECTED = "a rejection, an object with video_id, step, kind and reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One line."""

    step: NonEmptyText
    kind: NonEmptyText
    reason: AnyText
    video_id: AnyText = ""


def read_rejections(path: Path) -> Iterator[Rejection]:
    """The lines of a file, one by one; other keys are ignored. Raises DataError for another
    form."""
    return (rejection for _, rejection in rows_in(path, Rejection, _EXPECTED))
