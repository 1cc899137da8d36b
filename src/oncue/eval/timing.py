"""Timing alone: was something said when it was due, and nothing when not. What was said plays no
part.

A gold span with at least one reply is a hit; replies in no span are false; spans without a reply
are missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oncue.types import TimedReply, TimeSpan


@dataclass(frozen=True, slots=True)
class TimingCount:
    """Spans hit, replies in no span, spans missed. Ratios are None where they would divide by
    zero."""

    num_hit: int = 0
    num_false: int = 0
    num_missed: int = 0

    def __add__(self, other: TimingCount) -> TimingCount:
        return TimingCount(
            self.num_hit + other.num_hit,
            self.num_false + other.num_false,
            self.num_missed + other.num_missed,
        )

    @property
    def f1(self) -> float | None:
        """2 hit / (2 hit + false + missed); None where nothing was due and nothing was said."""
        total = 2 * self.num_hit + self.num_false + self.num_missed
        return 2 * self.num_hit / total if total else None

    @property
    def precision(self) -> float | None:
        """Hits over hits and false replies (further replies in a span that is hit already do not
        count)."""
        total = self.num_hit + self.num_false
        return self.num_hit / total if total else None

    @property
    def recall(self) -> float | None:
        total = self.num_hit + self.num_missed
        return self.num_hit / total if total else None


def count_timing(
    replies: Iterable[TimedReply | float],
    spans: Sequence[TimeSpan],
    *,
    early_s: float = 0.0,
    late_s: float = 0.0,
) -> TimingCount:
    """The timing of one clip; `replies` may be given by their times alone.

    Each span is closed, and widened by `early_s` before and `late_s` after. One reply may hit
    several spans.
    """
    times_s = [reply.time_s if isinstance(reply, TimedReply) else reply for reply in replies]
    wide = [TimeSpan(span.start_s - early_s, span.end_s + late_s) for span in spans]
    num_hit = sum(any(t in span for t in times_s) for span in wide)
    num_false = sum(not any(t in span for span in wide) for t in times_s)
    return TimingCount(num_hit, num_false, len(spans) - num_hit)


def pooled(counts: Iterable[TimingCount]) -> TimingCount:
    """The sum over clips, for one F1 of all spans and replies together."""
    return sum(counts, TimingCount())


def mean_f1(counts: Iterable[TimingCount]) -> float | None:
    """The mean of the clips' F1; clips where nothing was due and nothing was said are left out."""
    values = [f1 for count in counts if (f1 := count.f1) is not None]
    return sum(values) / len(values) if values else None
