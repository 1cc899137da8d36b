"""The lines of an input as they come, for an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

_CHUNK = 65_536  # bytes


async def lines_from(descriptor: int) -> AsyncIterator[bytes]:
    """Each line of a file, pipe or terminal, without its line break, as soon as it is whole.

    Read in a thread that the end of the process does not wait for, so that Ctrl-C works while
    nothing comes.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError | None] = asyncio.Queue()

    def put(item: bytes | OSError | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        rest = b""
        try:
            while chunk := os.read(descriptor, _CHUNK):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    put(line)
        except OSError as error:
            put(error)
            return
        if rest:
            put(rest)
        put(None)

    threading.Thread(target=read, daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, OSError):
            raise item
        yield item
