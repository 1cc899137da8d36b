"""The duplicate proportion: both scopes, exact duplicates, failed calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oncue.scoring.redundancy import DuplicateCount, count_duplicates
from oncue.scoring.score import Unscored
from oncue.types import TimedReply, TimeSpan


class TableJudge:
    """Knows the answers beforehand, and records what it was asked."""

    name, max_score = "table", 2

    def __init__(self, **verdicts: bool | Unscored) -> None:
        self.verdicts, self.asked = verdicts, list[tuple[tuple[str, ...], str]]()

    async def coverage(
        self, question: str, gold: str, replies_so_far: Sequence[str]
    ) -> int | Unscored:
        raise AssertionError((question, gold, replies_so_far))

    async def repeats(self, previous: Sequence[str], new: str) -> bool | Unscored:
        self.asked.append((tuple(previous), new))
        return self.verdicts.get(new, False)


# The worked example of the RL reward: spans [4, 12] and [16, 24]; A at 8, B at 16, A again at 20,
# B' at 24, C at 28.
REPLIES = [
    TimedReply(8, "A"),
    TimedReply(16, "B"),
    TimedReply(20, "A"),
    TimedReply(24, "B2"),
    TimedReply(28, "C"),
]
SPANS = [TimeSpan(4, 12), TimeSpan(16, 24)]


def count(judge, replies=REPLIES, **kwargs) -> DuplicateCount:
    return asyncio.run(count_duplicates(replies, SPANS, judge, **kwargs))


def test_whole_dialogue_of_the_worked_example():
    """B no, A exact, B' yes, C no: 2 of the 4 replies that have a predecessor."""
    judge = TableJudge(B2=True)
    assert count(judge, scope="whole_dialogue") == DuplicateCount(2, 4)
    assert judge.asked == [(("A",), "B"), (("A", "B"), "B2"), (("A", "B", "B2"), "C")]


def test_within_turn_of_the_worked_example():
    """Only the second span has replies with a predecessor; A is new there."""
    judge = TableJudge(B2=True)
    assert count(judge) == DuplicateCount(1, 2)
    assert judge.asked == [(("B",), "A"), (("B", "A"), "B2")]


def test_exact_duplicates_need_no_judge():
    judge = TableJudge()
    replies = [TimedReply(5, "A"), TimedReply(6, "A "), TimedReply(7, "A")]
    assert count(judge, replies) == DuplicateCount(2, 2)
    assert judge.asked == []


def test_failed_calls_leave_the_denominator_and_are_counted():
    result = count(TableJudge(A=Unscored("timeout"), B2=True))
    assert result == DuplicateCount(1, 1, 1)
    assert result.share == 1.0


def test_a_reply_in_two_spans_counts_in_each():
    spans = [TimeSpan(0, 10), TimeSpan(5, 15)]
    replies = [TimedReply(6, "A"), TimedReply(7, "B")]
    assert asyncio.run(count_duplicates(replies, spans, TableJudge(B=True))) == DuplicateCount(2, 2)


def test_no_predecessor_no_share():
    assert count(TableJudge(), [TimedReply(5, "A"), TimedReply(18, "B")]).share is None
