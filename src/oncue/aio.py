"""Running coroutines from code that is not one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def completed(coroutine: Coroutine[Any, Any, Result], runner: asyncio.Runner | None = None) -> Result:
    """`asyncio.run(coroutine)`, or in the event loop of `runner`; use it wherever a result may be large.

    Before and after each run asyncio looks up the handler of Ctrl-C, and Python then writes out what that handler
    holds: the finished task with all of its result. For the rollouts of a step of training that took a second.
    """
    results: list[Result] = []

    async def kept() -> None:
        results.append(await coroutine)

    if runner is None:
        asyncio.run(kept())
    else:
        runner.run(kept())
    return results[0]
