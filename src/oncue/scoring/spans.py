"""Which replies lie in which spans. Spans are closed at both ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oncue.types import TimedReply, TimeSpan


def replies_in(replies: Iterable[TimedReply], span: TimeSpan) -> tuple[TimedReply, ...]:
    """The replies inside `span`, in time order (those at one instant in the order given)."""
    return tuple(sorted((r for r in replies if r.time_s in span), key=lambda r: r.time_s))


def replies_outside(
    replies: Iterable[TimedReply], spans: Sequence[TimeSpan]
) -> tuple[TimedReply, ...]:
    """The replies inside none of `spans`, in time order."""
    return tuple(
        sorted(
            (r for r in replies if not any(r.time_s in s for s in spans)), key=lambda r: r.time_s
        )
    )


def distinct(replies: Iterable[TimedReply]) -> tuple[TimedReply, ...]:
    """The replies whose text, stripped, equals that of no earlier one; order kept."""
    first: dict[str, TimedReply] = {}
    for reply in replies:
        first.setdefault(reply.text.strip(), reply)
    return tuple(first.values())


def covered_s(spans: Iterable[TimeSpan], until_s: float) -> float:
    """Seconds of [0, `until_s`] that lie in at least one span."""
    total_s, reached_s = 0.0, 0.0
    for span in sorted(spans, key=lambda s: s.start_s):
        start_s, end_s = max(span.start_s, reached_s), min(span.end_s, until_s)
        if end_s > start_s:
            total_s += end_s - start_s
            reached_s = end_s
    return total_s
