"""Which questions are kept for training, and which frames of a pool show their answer.

A question is of use where the policy has something to look for: in a video that is long enough, of
which the answer takes up a part (Video-MTR, appendix B).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal, Protocol, TypeVar

from oncue.data.retrieval_rows import RetrievalRow, released_pool_size
from oncue.errors import ConfigError
from oncue.types import TimeSpan
from oncue.video.pool import frames_within

Pool = int | Literal["release"]


class Segmented(Protocol):
    """Something that is asked about a video, and the segments that show the answer."""

    @property
    def video(self) -> str: ...

    @property
    def duration_s(self) -> float | None: ...

    @property
    def spans(self) -> tuple[TimeSpan, ...]: ...


Item = TypeVar("Item", bound=Segmented)


class Dropped(enum.StrEnum):
    """Why a question is left out."""

    NO_SEGMENT = "no_segment"
    OUTSIDE = "segment_after_the_end"
    TOO_SHORT = "too_short"
    TOO_COVERED = "too_much_covered"


@dataclass(frozen=True, slots=True)
class Sieve:
    """What is kept: videos of `min_duration_s` or more (`strict`: of more), of which the segments
    together cover less than `max_covered_frac`.

    The lengths of the segments are added up as they are annotated: time that two segments share
    counts twice, and so does time after the annotated end of the video, which is rounded. `pool`:
    frames of the pool; "release": one a second, at most 64. Raises ConfigError for numbers out of
    range. Source: Video-MTR, appendix B, Table 7; the paper says "> 30 s", its counts are those of
    30 s or more.
    """

    min_duration_s: float = 30.0
    strict: bool = False
    max_covered_frac: float = 0.5
    pool: Pool = 128

    def __post_init__(self) -> None:
        if not self.min_duration_s >= 0 or not 0 < self.max_covered_frac <= 1:
            raise ConfigError(
                "curation needs min_duration_s >= 0 and max_covered_frac above 0 and at most 1, "
                f"got {self.min_duration_s} and {self.max_covered_frac}"
            )
        if self.pool != "release" and self.pool < 1:
            raise ConfigError(f"a pool needs at least 1 frame, got {self.pool}")

    def why_dropped(self, item: Segmented) -> Dropped | None:
        """Why `item` is left out, None where it is kept. The first reason that holds counts."""
        duration_s = item.duration_s or 0.0
        if not item.spans:
            return Dropped.NO_SEGMENT
        if any(span.start_s >= duration_s for span in item.spans):
            return Dropped.OUTSIDE
        if duration_s < self.min_duration_s or (self.strict and duration_s == self.min_duration_s):
            return Dropped.TOO_SHORT
        covered_s = sum(span.duration_s for span in item.spans)
        if not covered_s / duration_s < self.max_covered_frac:
            return Dropped.TOO_COVERED
        return None

    def worded(self, reason: Dropped) -> str:
        """`reason` in words."""
        less = "no longer" if self.strict else "shorter"
        return {
            Dropped.NO_SEGMENT: "it has no segment",
            Dropped.OUTSIDE: "a segment begins after the end of the video",
            Dropped.TOO_SHORT: f"the video is {less} than {self.min_duration_s:g} s",
            Dropped.TOO_COVERED: f"its segments cover {self.max_covered_frac:.0%} of the video "
            "or more",
        }[reason]

    def finished(self, row: RetrievalRow, video_folder: str = "") -> RetrievalRow:
        """A row that is kept, with the frames of the pool that show its answer, and its video in
        `video_folder`."""
        assert row.duration_s is not None
        pool = released_pool_size(row.duration_s) if self.pool == "release" else self.pool
        frames = frames_within(row.spans, pool, row.duration_s)
        video = str(PurePosixPath(video_folder, row.video))
        return replace(row, frames=frames, num_frames=pool, video=video)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the annotations hold, and what became of it."""

    num_videos: int
    num_questions: int
    num_segments: int
    num_kept: int
    dropped: Mapping[Dropped, int]


def sift(items: Iterable[Item], sieve: Sieve) -> tuple[list[Item], Counts]:
    """The items that `sieve` keeps, in order, and the counts."""
    items = list(items)
    reasons = [sieve.why_dropped(item) for item in items]
    kept = [item for item, reason in zip(items, reasons, strict=True) if reason is None]
    dropped = Counter(reason for reason in reasons if reason is not None)
    return kept, Counts(
        len({item.video for item in items}),
        len(items),
        sum(len(item.spans) for item in items),
        len(kept),
        {reason: dropped[reason] for reason in Dropped if dropped[reason]},
    )
