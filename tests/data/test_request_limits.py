"""Limits a minute hold over every window and serve in order; budgets hold for requests together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncue.data.request_limits import Prices, Spending, WindowLimit
from oncue.errors import BudgetSpentError, ConfigError


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


def admitted(
    limit: int, amounts: Sequence[int], pauses: Sequence[float]
) -> list[tuple[float, int]]:
    """When each of `amounts` is let through, in the order in which that happens."""
    clock = FakeClock()
    seen: list[tuple[float, int]] = []

    async def run() -> None:
        window = WindowLimit(limit, 60.0, clock, clock.sleep)

        async def one(number: int) -> None:
            await window.admit(amounts[number])
            seen.append((clock.now_s, number))

        tasks = []
        for number in range(len(amounts)):
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(0)
            clock.now_s += pauses[number % len(pauses)] if pauses else 0.0
        await asyncio.gather(*tasks)

    asyncio.run(run())
    return seen


def most_in_a_window(times: Sequence[tuple[float, int]], amounts: Sequence[int]) -> int:
    return max(
        sum(amounts[n] for time_s, n in times if start_s <= time_s < start_s + 60.0)
        for start_s, _ in times
    )


@given(
    st.integers(5, 20),
    st.lists(st.integers(1, 5), min_size=1, max_size=30),
    st.lists(st.floats(0, 30), max_size=5),
)
def test_no_window_holds_more_than_the_limit_and_order_is_kept(
    limit: int, amounts: list[int], pauses: list[float]
) -> None:
    seen = admitted(limit, amounts, pauses)
    assert [number for _, number in seen] == list(range(len(amounts)))
    assert most_in_a_window(seen, amounts) <= limit


def test_all_that_fits_goes_through_at_once_and_no_later_than_it_must() -> None:
    seen = admitted(4, [1] * 9, [])
    assert [round(time_s - 1000, 1) for time_s, _ in seen] == [0] * 4 + [60] * 4 + [120]


def test_more_than_the_limit_goes_through_alone() -> None:
    seen = admitted(4, [1, 9, 1], [])
    assert [round(time_s - 1000, 1) for time_s, _ in seen] == [0, 60, 120]


def test_what_was_too_much_is_given_back() -> None:
    clock = FakeClock()

    async def run() -> float:
        window = WindowLimit(10, 60.0, clock, clock.sleep)
        first = await window.admit(9)
        window.settle(first, 2)
        await window.admit(8)
        return clock.now_s

    assert asyncio.run(run()) == 1000.0


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        WindowLimit(0)


def test_requests_on_the_way_together_stay_inside_the_budget() -> None:
    spent: list[tuple[str, int, int, float]] = []
    budget = Spending(Prices.read(("2,8", "cheap=0,1")), max_cost=0.02)
    budget.start_from((0, 0, 0, 0.0), lambda *args: spent.append(args))

    async def run() -> None:
        first = await budget.set_aside("big", 1000, 1000)
        waiting = asyncio.create_task(budget.set_aside("big", 1200, 1500))  # 0.01 and 0.0144
        await budget.set_aside("cheap", 10**6, 1000)
        await asyncio.sleep(0)
        assert not waiting.done(), "it may yet fit"
        budget.give_back(first)
        budget.note("big", 1000, 250)
        await waiting
        budget.note("big", 1000, 500)
        with pytest.raises(BudgetSpentError, match=r"0.02 is spent \(0.0100 so far.*0.0104"):
            await budget.set_aside("big", 1200, 1000)

    asyncio.run(run())
    assert spent[0] == ("big", 1000, 250, pytest.approx(0.004))
    assert (budget.tokens_in, budget.tokens_out, budget.num_requests) == (2000, 750, 2)


def test_what_was_spent_before_counts() -> None:
    tokens = Spending(max_tokens=100)
    tokens.start_from((1, 60, 30, 0.0), lambda *_: None)
    assert tokens.left() == (None, 10)

    async def run() -> None:
        with pytest.raises(BudgetSpentError, match="100 tokens is spent"):
            await tokens.set_aside("any", 6, 5)
        await tokens.set_aside("any", 5, 5)

    asyncio.run(run())


@pytest.mark.parametrize("wrong", ["", "1", "1,2,3", "m=x,2", "1,-2", "nan,1", "1,inf"])
def test_a_price_that_is_none(wrong: str) -> None:
    with pytest.raises(ConfigError, match="IN,OUT or MODEL=IN,OUT"):
        Prices.read((wrong,))
