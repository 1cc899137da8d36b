"""Policies that see no frame, for any benchmark: silence, one reply after a fixed delay, a reply at
every so many seconds."""

from __future__ import annotations

from typing import Any

from oncue.eval.streams.benchmark import BlindRow
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.types import TimedReply


def silence() -> BlindRow[Any]:
    """Never says anything."""
    return BlindRow("silence", lambda item: Prediction(item.stream.item_id))


def once_after(delay_s: float, text: str, *, needs_grader: bool = False) -> BlindRow[Any]:
    """Says `text` once, `delay_s` after the first question, if the stream lasts that long."""

    def predict(item: Item[Any]) -> Prediction:
        return _at(item.stream, [_asked_s(item.stream) + delay_s], text)

    return BlindRow(f"once, {delay_s:g} s after the question", predict, needs_grader)


def every(interval_s: float, text: str, *, needs_grader: bool = False) -> BlindRow[Any]:
    """Says `text` every `interval_s` seconds, from `interval_s` after the start of the stream on,
    not before the first question."""

    def predict(item: Item[Any]) -> Prediction:
        stream = item.stream
        end_s = _end_s(stream)
        num = int((end_s - stream.start_s) / interval_s + 1e-9)
        times = [stream.start_s + interval_s * k for k in range(1, num + 1)]
        return _at(stream, [t for t in times if t >= _asked_s(stream)], text)

    return BlindRow(f"every {interval_s:g} s", predict, needs_grader)


def _at(stream: Stream, times_s: list[float], text: str) -> Prediction:
    end_s = _end_s(stream)
    return Prediction(
        stream.item_id, tuple(TimedReply(time_s, text) for time_s in times_s if time_s <= end_s)
    )


def _asked_s(stream: Stream) -> float:
    return stream.questions[0].time_s if stream.questions else stream.start_s


def _end_s(stream: Stream) -> float:
    """Where the stream ends; where nobody says, with the last reply that is due."""
    end_s = stream.end_s if stream.end_s is not None else stream.duration_s
    if end_s is None:
        end_s = max((gold.span.end_s for gold in stream.due), default=stream.start_s)
    return end_s
