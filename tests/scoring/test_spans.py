"""Which replies lie in which spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncue.scoring.spans import covered_s, distinct, replies_in, replies_outside
from oncue.types import TimedReply, TimeSpan


def replies(*times_s: float) -> list[TimedReply]:
    return [TimedReply(t, f"at {t}") for t in times_s]


def test_spans_are_closed_at_both_ends():
    assert [r.time_s for r in replies_in(replies(8, 3.9, 4, 12, 12.1), TimeSpan(4, 12))] == [
        4,
        8,
        12,
    ]
    assert [r.time_s for r in replies_outside(replies(8, 3.9, 4, 12, 12.1), [TimeSpan(4, 12)])] == [
        3.9,
        12.1,
    ]


@given(
    st.lists(st.floats(0, 50), max_size=8),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 10)), max_size=4),
)
def test_every_reply_is_inside_some_span_or_outside_all(times_s, pairs):
    spans = [TimeSpan(start, start + width) for start, width in pairs]
    said = replies(*times_s)
    inside = [r for r in said if any(r in replies_in(said, s) for s in spans)]
    assert sorted(r.time_s for r in [*inside, *replies_outside(said, spans)]) == sorted(times_s)


def test_distinct_keeps_the_first_of_equal_texts():
    said = [
        TimedReply(1, "a"),
        TimedReply(2, " a "),
        TimedReply(3, "A"),
        TimedReply(4, "b"),
        TimedReply(5, "a"),
    ]
    assert [r.time_s for r in distinct(said)] == [1, 3, 4]


@pytest.mark.parametrize(
    ("spans", "until_s", "expected"),
    [
        ([], 10, 0),
        ([(2, 4)], 10, 2),
        ([(2, 6), (4, 8)], 10, 6),  # an overlap counts once
        ([(2, 8), (3, 4)], 10, 6),
        ([(4, 8), (2, 6)], 10, 6),  # in whatever order
        ([(3, 4), (2, 8)], 10, 6),
        ([(6, 14)], 10, 4),  # cut at the end
        ([(12, 14)], 10, 0),
    ],
)
def test_covered_time(spans, until_s, expected):
    assert covered_s([TimeSpan(*s) for s in spans], until_s) == expected
