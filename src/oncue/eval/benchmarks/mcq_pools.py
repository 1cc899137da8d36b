"""The frame pools of the videos that are being asked about: each is read once, and held while it is
needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from oncue.video.pool import FramePool


class Pools:
    """Pools as `read` reads them, in threads. `uses`: the video of each question that is to come,
    so that a pool is dropped after its last. Memory is that of the pools in use at once."""

    def __init__(self, read: Callable[[Path], FramePool], uses: Iterable[Path]) -> None:
        self._read = read
        self._left = Counter(uses)
        self._reading: dict[Path, asyncio.Task[FramePool]] = {}

    async def take(self, path: Path) -> FramePool:
        """The pool of a video; raises what reading it raises, for each question about it."""
        if path not in self._reading:
            reading = asyncio.to_thread(self._read, path)
            self._reading[path] = asyncio.ensure_future(reading)
        return await asyncio.shield(self._reading[path])

    def give_back(self, path: Path) -> None:
        """A question about this video is done."""
        self._left[path] -= 1
        if not self._left[path]:
            self._reading.pop(path, None)
