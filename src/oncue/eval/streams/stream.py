"""What a benchmark of proactive models watches and asks, and what a policy said to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from oncue.types import GoldTurn, Question, TimedReply

GoldT = TypeVar("GoldT")


@dataclass(frozen=True, slots=True)
class Stream:
    """A stretch of a video, what is asked in it, and when replies are due.

    `item_id` is unique in its benchmark. `video` is its name as the annotations give it. All times
    are seconds of the video: it is watched from `start_s` to `end_s` (None: to its end).
    `due`: what a timeline shows as due, and outside of which a reply is a false alarm. `subset`: a
    part of the benchmark that has figures of its own; "" where it has none.
    """

    item_id: str
    video: str
    questions: tuple[Question, ...]
    due: tuple[GoldTurn, ...] = ()
    start_s: float = 0.0
    end_s: float | None = None
    duration_s: float | None = None
    subset: str = ""

    @property
    def watched_s(self) -> float | None:
        """Seconds from start to end; None where the end is not known."""
        end_s = self.end_s if self.end_s is not None else self.duration_s
        return None if end_s is None else max(0.0, end_s - self.start_s)


@dataclass(frozen=True, slots=True)
class Item(Generic[GoldT]):
    """A stream, and what its benchmark scores it by."""

    stream: Stream
    gold: GoldT


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a policy said to one item: its replies in the order given, silent turns left out.

    `watched_s`, `num_turns` and `num_silent` are 0 where only the replies are known. `answers`: the
    question that each reply answers, None where the file does not say; empty: it says of none.
    `is_missing`: the file has nothing on this item, which some benchmarks leave out.
    """

    item_id: str
    replies: tuple[TimedReply, ...] = ()
    watched_s: float = 0.0
    num_turns: int = 0
    num_silent: int = 0
    answers: tuple[Question | None, ...] = ()
    is_missing: bool = False
