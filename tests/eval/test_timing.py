"""Timing without content: hits, false replies, missed spans."""

from __future__ import annotations

import pytest

from oncue.eval.timing import TimingCount, count_timing, mean_f1, pooled
from oncue.types import TimedReply, TimeSpan

SPANS = [TimeSpan(4, 12), TimeSpan(16, 24)]


@pytest.mark.parametrize(
    ("times_s", "expected", "f1"),
    [
        ([], TimingCount(0, 0, 2), 0.0),
        ([4, 24], TimingCount(2, 0, 0), 1.0),  # closed at both ends
        ([5, 6, 7, 17], TimingCount(2, 0, 0), 1.0),  # more replies in a span neither help nor hurt
        ([5, 14, 30], TimingCount(1, 2, 1), 2 / 5),
        (range(1, 31), TimingCount(2, 12, 0), 4 / 16),  # talking at every turn
    ],
)
def test_counts_by_hand(times_s, expected, f1):
    count = count_timing([TimedReply(t, "x") for t in times_s], SPANS)
    assert (count, count.f1) == (expected, pytest.approx(f1))
    assert count_timing(times_s, SPANS) == expected


def test_precision_and_recall():
    count = TimingCount(1, 3, 1)
    assert (count.precision, count.recall, count.f1) == (0.25, 0.5, pytest.approx(2 / 6))
    assert (TimingCount(0, 0, 1).precision, TimingCount(0, 1, 0).recall) == (None, None)


def test_wider_spans():
    assert count_timing([3, 14, 26], SPANS, early_s=1, late_s=2) == TimingCount(2, 0, 0)
    assert count_timing([3, 14, 26], SPANS) == TimingCount(0, 3, 2)


def test_pooled_and_per_clip():
    clips = [TimingCount(2, 0, 0), TimingCount(0, 2, 2), TimingCount(0, 0, 0)]
    assert pooled(clips) == TimingCount(2, 2, 2)
    assert pooled(clips).f1 == pytest.approx(0.5)
    assert mean_f1(clips) == pytest.approx(0.5)  # the clip without gold and replies has no F1
    assert mean_f1([TimingCount()]) is None
    assert pooled([]).f1 is None
