"""The frame pools of the videos that are being asked about: each is read once, and held while it is
needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from oncue.video.pool import FramePool

VideoT = TypeVar("VideoT", bound=Hashable)


class Pools(Generic[VideoT]):
    """Pools as `read` reads them, in threads. `uses`: the video of each question that is to come,
    so that a pool is dropped after its last. Memory is that of the pools in use at once."""

    def __init__(self, read: Callable[[VideoT], FramePool], uses: Iterable[VideoT] = ()) -> None:
        self._read = read
        self._left = Counter(uses)
        self._reading: dict[VideoT, asyncio.Task[FramePool]] = {}

    def expect(self, path: VideoT) -> None:
        """One more question about this video is to come."""
        self._left[path] += 1

    async def take(self, path: VideoT) -> FramePool:
        """The pool of a video; raises what reading it raises, for each question about it."""
        if path not in self._reading:
            reading = asyncio.to_thread(self._read, path)
            self._reading[path] = asyncio.ensure_future(reading)
        return await asyncio.shield(self._reading[path])

    def give_back(self, path: VideoT) -> None:
        """A question about this video is done."""
        self._left[path] -= 1
        if not self._left[path]:
            del self._left[path]
            self._reading.pop(path, None)
