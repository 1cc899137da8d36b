"""Running coroutines from code that is not one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


def completed(
    coroutine: Coroutine[Any, Any, Result], runner: asyncio.Runner | None = None
) -> Result:
    """`asyncio.run(coroutine)`, or in the event loop of `runner`; use it wherever a result may be
    large.

    Before and after each run asyncio looks up the handler of Ctrl-C, and Python then writes out
    what that handler holds: the finished task with all of its result. For the rollouts of a step of
    training that took a second.
    """
    results: list[Result] = []

    async def kept() -> None:
        results.append(await coroutine)

    if runner is None:
        asyncio.run(kept())
        return results[0]
    try:
        runner.run(kept())
    except KeyboardInterrupt:
        _end_tasks(runner.get_loop())
        raise
    return results[0]


async def gathered(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """`asyncio.gather(*coroutines)`; a single one is awaited without a task of its own, which costs
    more than a result that is at hand."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    return await asyncio.gather(*coroutines)


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Ends what an interrupt has left undone. A task that it met raises it again, and so does each
    that awaits it."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        with suppress(KeyboardInterrupt):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
