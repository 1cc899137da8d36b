"""Two policies on the same videos: differences, intervals, and a permutation test."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.eval.streams.benchmark import BySubset
from oncue.eval.streams.paired import NUM_SWAPS, PairedFigure, is_exact, paired_figures
from oncue.eval.streams.tally import Tally


def tally(rows: list[tuple[float, float]]) -> Tally:
    """(right, n) of each video."""
    made = Tally()
    for number, (right, num) in enumerate(rows):
        made.add(f"v{number}", "", {"right": right, "n": num})
    return made


def share(sums: BySubset) -> dict[str, float | None]:
    num = sums[""]["n"]
    return {"share": 100 * sums[""]["right"] / num if num else None}


def paired(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> PairedFigure:
    (found,) = paired_figures(tally(first), tally(second), share)
    return found


def exact_p(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> float:
    """By its definition: every way to give videos to the other policy."""
    sizes = []
    for swap in itertools.product((False, True), repeat=len(first)):
        pairs = [(b, a) if s else (a, b) for s, a, b in zip(swap, first, second, strict=True)]
        ours, others = ([pair[side] for pair in pairs] for side in (0, 1))
        values = [
            100 * sum(r for r, _ in rows) / sum(n for _, n in rows) for rows in (ours, others)
        ]
        sizes.append(abs(values[1] - values[0]))
    return sum(size >= sizes[0] - 1e-9 for size in sizes) / len(sizes)


def test_five_of_five_videos_better() -> None:
    found = paired([(0, 2)] * 5, [(2, 2)] * 5)
    assert (found.first, found.second, found.difference) == (0.0, 100.0, 100.0)
    assert found.interval == (100.0, 100.0)
    assert found.p_value == 2 / 2**5


def test_a_mixed_case_by_hand() -> None:
    """Differences per video 1, 1, 1, -1 of one item each: |2/4| or more in 10 of 16 swaps."""
    found = paired([(0, 1), (0, 1), (0, 1), (1, 1)], [(1, 1), (1, 1), (1, 1), (0, 1)])
    assert found.difference == 50.0
    assert found.p_value == 10 / 16


def test_a_slightly_smaller_difference_is_no_tie() -> None:
    """25.5 points as it is, 24.5 with the second video swapped."""
    found = paired([(0, 100), (0, 100)], [(50, 100), (1, 100)])
    assert found.p_value == 2 / 4


counts = st.tuples(st.integers(0, 50).map(float), st.just(50.0))
pairs = st.lists(st.tuples(counts, counts), min_size=2, max_size=6)


@given(pairs)
@settings(max_examples=20, deadline=None)
def test_exact_p_values_are_those_of_the_definition(rows) -> None:
    first, second = [a for a, _ in rows], [b for _, b in rows]
    found, back = paired(first, second), paired(second, first)
    assert found.p_value == pytest.approx(exact_p(first, second))
    assert back.p_value == found.p_value
    assert back.difference == -found.difference
    assert back.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_terms_that_only_one_policy_has() -> None:
    first, second = Tally(), Tally()
    for number in range(3):
        first.add(f"v{number}", "", {"n": 1.0})
        second.add(f"v{number}", "", {"n": 1.0, "right": 1.0})

    def values(sums: BySubset) -> dict[str, float | None]:
        return {"share": sums[""].get("right", 0.0) / sums[""]["n"]}

    (found,) = paired_figures(first, second, values)
    assert (found.difference, found.interval, found.p_value) == (1.0, (1.0, 1.0), 2 / 2**3)


def test_many_videos_are_sampled() -> None:
    assert is_exact(12)
    assert not is_exact(13)
    worse = [(0.0, 1.0)] * 40
    clear = paired(worse, [(1.0, 1.0)] * 30 + worse[:10])
    assert clear.p_value == 1 / (NUM_SWAPS + 1)
    assert 55 < clear.interval[0] < 75 < clear.interval[1] < 90
    alike = paired([(k % 2, 1.0) for k in range(40)], [((k + 1) % 2, 1.0) for k in range(40)])
    assert (alike.difference, alike.p_value) == (0.0, 1.0)
    assert clear == paired(worse, [(1.0, 1.0)] * 30 + worse[:10]), "seeded"


def test_undefined_figures_have_no_difference() -> None:
    assert paired([(0, 0), (0, 0)], [(1, 1), (1, 1)]).difference is None
    some = paired([(0, 0), (1, 1)], [(1, 1), (1, 1)])
    assert (some.difference, some.interval, some.p_value) == (0.0, None, 1.0)
    alone = paired([(0, 1)], [(1, 1)])
    assert (alone.difference, alone.interval, alone.p_value) == (100.0, None, None)


def test_other_videos_are_an_error() -> None:
    with pytest.raises(ValueError, match="same videos"):
        paired([(0, 1)], [(1, 1), (1, 1)])
