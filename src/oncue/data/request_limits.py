"""How much a model may be asked: requests and tokens a minute, and tokens and money in all."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from oncue.errors import BudgetSpentError, ConfigError

WINDOW_S = 60.0
_LOOK_AGAIN_S = 0.5  # what was set aside for a request may be given back before its time is over
_PER = 1_000_000  # tokens that a price is for
_ANY_MODEL = ""


@dataclass(slots=True, eq=False)
class Admission:
    """What a window lets through: so much, at that time."""

    time_s: float
    amount: int
    is_inside: bool = True  # of the window, still


class WindowLimit:
    """Lets through at most `limit` (None: any number) in any stretch of `window_s` seconds.

    Whoever came first is let through first. More than `limit` at once goes through alone.
    Usable in one event loop. Raises ConfigError for a limit below 1.
    """

    def __init__(
        self,
        limit: int | None,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"a limit a minute must be at least 1, got {limit}")
        self.limit, self._window_s, self._clock, self._sleep = limit, window_s, clock, sleep
        self._admitted: deque[Admission] = deque()
        self._total = 0
        self._turn = asyncio.Lock()  # serves in order of arrival

    async def admit(self, amount: int = 1) -> Admission:
        """Returns once `amount` more fits."""
        if self.limit is None:
            return Admission(0.0, 0, is_inside=False)
        async with self._turn:
            while (wait_s := self._wait_s(amount)) > 0:
                await self._sleep(wait_s)
            admission = Admission(self._clock(), amount)
            self._admitted.append(admission)
            self._total += amount
            return admission

    def settle(self, admission: Admission, amount: int) -> None:
        """It was `amount` in truth."""
        if admission.is_inside:
            self._total += amount - admission.amount
            admission.amount = amount

    def _wait_s(self, amount: int) -> float:
        """How long to wait before looking again; 0: it fits now."""
        assert self.limit is not None
        now_s = self._clock()
        while self._admitted and now_s - self._admitted[0].time_s >= self._window_s:
            gone = self._admitted.popleft()
            gone.is_inside = False
            self._total -= gone.amount
        if not self._admitted or self._total + amount <= self.limit:
            return 0.0
        left_s = self._admitted[0].time_s + self._window_s - now_s
        return max(min(left_s, _LOOK_AGAIN_S), 1e-3)


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens read, and written."""

    per_million_in: float
    per_million_out: float

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.per_million_in + tokens_out * self.per_million_out) / _PER


@dataclass(frozen=True, slots=True)
class Prices:
    """The price of each model; that of the name "" is for all others."""

    of_model: Mapping[str, Price] = field(default_factory=dict)

    @classmethod
    def read(cls, written: tuple[str, ...]) -> Prices:
        """Prices as `IN,OUT` for all models, or `MODEL=IN,OUT`. Raises ConfigError for others."""
        found: dict[str, Price] = {}
        for text in written:
            model, _, numbers = text.rpartition("=")
            try:
                price_in, price_out = map(float, numbers.split(","))
            except ValueError:
                price_in = price_out = -1.0
            if not (0 <= price_in < float("inf") and 0 <= price_out < float("inf")):
                raise ConfigError(
                    f"a price must be IN,OUT or MODEL=IN,OUT, money for a million tokens read and "
                    f"written, such as gpt-4.1=2,8; got {text!r:.80}"
                )
            found[model] = Price(price_in, price_out)
        return cls(found)

    def has(self, model: str) -> bool:
        return model in self.of_model or _ANY_MODEL in self.of_model

    def cost(self, model: str, tokens_in: int, tokens_out: int) -> float:
        """Money for these tokens; 0.0 where no price is known."""
        price = self.of_model.get(model) or self.of_model.get(_ANY_MODEL)
        return price.cost(tokens_in, tokens_out) if price is not None else 0.0

    def plain(self) -> dict[str, list[float]]:
        """As JSON has them."""
        return {m: [p.per_million_in, p.per_million_out] for m, p in sorted(self.of_model.items())}


class Spending:
    """What was spent so far, and what may be (None: any amount).

    Before a request, what it may cost at most is set aside, so that requests that are on the way
    together stay inside the budget, as far as estimates hold. Usable in one event loop.
    """

    def __init__(
        self,
        prices: Prices | None = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.prices, self.max_cost, self.max_tokens = prices or Prices(), max_cost, max_tokens
        self.num_requests = self.tokens_in = self.tokens_out = 0
        self.cost = 0.0
        self._on_spent: Callable[[str, int, int, float], None] = lambda *_: None
        self._num_aside = self._aside_tokens = 0
        self._aside_cost = 0.0
        self._given_back = asyncio.Event()

    def start_from(
        self,
        spent: tuple[int, int, int, float],
        on_spent: Callable[[str, int, int, float], None],
    ) -> None:
        """Requests, tokens read, tokens written and money that were spent before. `on_spent(model,
        tokens_in, tokens_out, cost)` is called for each answer that is paid for."""
        self.num_requests, self.tokens_in, self.tokens_out, self.cost = spent
        self._on_spent = on_spent

    def left(self) -> tuple[float | None, int | None]:
        """Money and tokens that may still be spent."""
        cost = None if self.max_cost is None else max(0.0, self.max_cost - self.cost)
        tokens = self.tokens_in + self.tokens_out
        return cost, None if self.max_tokens is None else max(0, self.max_tokens - tokens)

    async def set_aside(self, model: str, tokens_in: int, tokens_out: int) -> SetAside:
        """Returns once so much is left for certain. Raises BudgetSpentError where it never will
        be."""
        aside = SetAside(tokens_in + tokens_out, self.prices.cost(model, tokens_in, tokens_out))
        while fault := self._lack(self._aside_tokens + aside.tokens, self._aside_cost + aside.cost):
            if not self._num_aside or self._lack(aside.tokens, aside.cost):
                raise BudgetSpentError(self._lack(aside.tokens, aside.cost) or fault)
            self._given_back.clear()
            await self._given_back.wait()
        self._num_aside += 1
        self._aside_tokens += aside.tokens
        self._aside_cost += aside.cost
        return aside

    def give_back(self, aside: SetAside) -> None:
        """The request is over; what it took is noted apart."""
        self._num_aside -= 1
        self._aside_tokens -= aside.tokens
        self._aside_cost = self._aside_cost - aside.cost if self._num_aside else 0.0
        self._given_back.set()

    def note(self, model: str, tokens_in: int, tokens_out: int) -> None:
        """An answer was paid for."""
        cost = self.prices.cost(model, tokens_in, tokens_out)
        self.num_requests += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost += cost
        self._on_spent(model, tokens_in, tokens_out, cost)

    def _lack(self, tokens: int, cost: float) -> str:
        """Why so much more cannot be spent; "" where it can."""
        so_far = self.tokens_in + self.tokens_out
        if self.max_tokens is not None and so_far + tokens > self.max_tokens:
            return (
                f"the budget of {self.max_tokens:,} tokens is spent ({so_far:,} so far, and a "
                f"request may take {tokens:,})"
            )
        if self.max_cost is not None and self.cost + cost > self.max_cost:
            return (
                f"the budget of {self.max_cost:g} is spent ({self.cost:.4f} so far, and a request "
                f"may cost {cost:.4f})"
            )
        return ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a request that is on the way may take."""

    tokens: int
    cost: float
