"""What a benchmark is, and the one runner of all: items watched together, scores in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from oncue.aio import completed
from oncue.eval.table import TextTable
from oncue.policy.open_policy import Policy
from oncue.types import PolicySession, Question

ItemT = TypeVar("ItemT")
SeenT = TypeVar("SeenT")
WatchedT = TypeVar("WatchedT", contravariant=True)
RecordedT = TypeVar("RecordedT", covariant=True)


class Steps(Protocol):
    """Counts pieces of work."""

    def step(self) -> None:
        """One more is done."""


# Of work by that name, of so many pieces
ShowProgress = Callable[[str, int], AbstractContextManager[Steps]]


class Scores(Protocol):
    """What a benchmark found: for people, for scripts, for files."""

    def tables(self) -> Sequence[TextTable]:
        """For people."""
        ...

    def remarks(self) -> Sequence[str]:
        """For people: lines below the tables."""
        ...

    def headline(self) -> dict[str, Any]:
        """For scripts: one JSON object."""
        ...

    def numbers(self) -> dict[str, Any]:
        """For a file: everything measured, ready for `json.dumps`."""
        ...

    def texts(self) -> Mapping[str, str]:
        """Further files, by name: one for each of `Benchmark.text_files`."""
        ...


class Watcher(Protocol[WatchedT, RecordedT]):
    """How items are watched."""

    @property
    def num_at_once(self) -> int:
        """How many items are watched together."""
        ...

    async def watch(self, item: WatchedT, policy: Policy[PolicySession]) -> RecordedT:
        """What is recorded of an item. Closes what it opens."""
        ...


class Benchmark(Watcher[ItemT, SeenT], Protocol[ItemT, SeenT]):
    """Items that a policy watches, what is recorded of each, and how that is scored.

    A new benchmark is one file in `eval/benchmarks/`.
    """

    @property
    def text_files(self) -> tuple[str, ...]:
        """The names of the files it writes beside its numbers."""
        ...

    def check_name(self, name: str) -> None:
        """Raises ConfigError for a name that the model may not have here, such as that of a
        baseline."""
        ...

    def questions(self) -> Iterable[Question]:
        """What will be asked, as far as it should be checked before the policy is opened."""
        ...

    def items(self, show: ShowProgress) -> Sequence[ItemT]:
        """What is watched, in order. Called once, before all that follows; what it takes to make is
        shown."""
        ...

    async def score(self, name: str, items: Sequence[ItemT], seen: Sequence[SeenT]) -> Scores:
        """The scores of the model called `name`, which saw `items`."""
        ...


class _Unseen:
    def step(self) -> None:
        """Shows nothing."""


def show_nothing(_what: str, _total: int) -> AbstractContextManager[Steps]:
    """Work that nobody looks at."""
    return nullcontext(_Unseen())


def run_benchmark(
    benchmark: Benchmark[ItemT, SeenT],
    policy: Policy[PolicySession],
    show: ShowProgress = show_nothing,
    *,
    name: str | None = None,
) -> Scores:
    """The scores of `policy`, called `name` there (by default by its own name). Closes `policy`.

    Raises what the benchmark raises, and the first error of an item: the others are then broken
    off, and nothing is scored. Not for use inside an event loop.
    """
    name = policy.name if name is None else name
    with policy:
        benchmark.check_name(name)
        items = benchmark.items(show)
        with show("watching clips", len(items)) as steps:
            seen = completed(watch_items(benchmark, items, policy, steps.step))
    return completed(benchmark.score(name, items, seen))


async def watch_items(
    benchmark: Watcher[ItemT, SeenT],
    items: Sequence[ItemT],
    policy: Policy[PolicySession],
    on_item: Callable[[], None] = lambda: None,
) -> list[SeenT]:
    """What is recorded of each item, in their order; `num_at_once` of them are watched together.

    `on_item` is called as items are finished. After an error, which is raised, no item is still
    being watched. The connections of `policy` are closed in the end.
    """
    places = asyncio.Semaphore(benchmark.num_at_once)

    async def one(item: ItemT) -> SeenT:
        async with places:
            seen = await benchmark.watch(item, policy)
        on_item()
        return seen

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await policy.disconnect()
