"""How the delays of first replies are counted: in groups that add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oncue.eval.streams.behaviour import PREFIX, behaviour_terms, delay_counts
from oncue.eval.streams.stream import Prediction, Stream
from oncue.types import GoldTurn, Question, TimedReply, TimeSpan


def counted(times: list[float], visible_s: float | None = None) -> dict[str, int]:
    due = (GoldTurn("x", TimeSpan(100.0, 200.0), visible_s=visible_s),)
    stream = Stream("a", "a.mp4", (Question("?"),), due, end_s=300.0)
    said = Prediction("a", tuple(TimedReply(t, "x") for t in times))
    return {c.name: c.num for c in delay_counts(behaviour_terms(stream, said)) if c.num}


def test_ends_of_groups_are_closed_below_and_open_above() -> None:
    assert counted([100.0]) == {"0-1": 1}
    assert counted([100.999]) == {"0-1": 1}
    assert counted([101.0]) == {"1-2": 1}
    assert counted([106.0, 107.0]) == {"6-10": 1}, "the first reply alone"
    assert counted([140.0]) == {"40+": 1}
    assert counted([100.0], visible_s=103.0) == {"<0": 1}
    assert counted([99.0, 201.0]) == {}


@given(st.lists(st.lists(st.floats(0, 300), max_size=6), max_size=6))
def test_counts_of_all_items_add_up_to_the_spans_that_were_hit(items: list[list[float]]) -> None:
    due = (
        GoldTurn("x", TimeSpan(10.0, 60.0)),
        GoldTurn("y", TimeSpan(50.0, 250.0), visible_s=70.0),
    )
    stream = Stream("a", "a.mp4", (Question("?"),), due, end_s=300.0)
    sums: dict[str, float] = {}
    for times in items:
        said = Prediction("a", tuple(TimedReply(t, "x") for t in times))
        for name, value in behaviour_terms(stream, said).items():
            sums[name] = sums.get(name, 0.0) + value
    assert sum(each.num for each in delay_counts(sums)) == sums.get(PREFIX + "num_hit", 0.0)
