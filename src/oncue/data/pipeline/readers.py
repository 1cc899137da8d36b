"""Processes that read videos. One that crashes in a decoder costs only its video."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from oncue.data.pipeline.values import VIDEO, BuildSettings, Rejected, SeenVideo
from oncue.data.pipeline.video_reading import read_video
from oncue.data.source_videos import SourceVideo

Read = Callable[[SourceVideo, Path, BuildSettings], SeenVideo | Rejected]


class VideoReaders:
    """`num_processes` processes that run `read_video`. Use it in a `with` statement.

    Where a process dies, all that were at work are asked again, one at a time, each in a process of
    its own; whichever dies once more is at fault. `read` is for tests.
    """

    def __init__(
        self, folder: Path, settings: BuildSettings, num_processes: int, read: Read = read_video
    ) -> None:
        self._folder, self._settings, self._num, self._read = folder, settings, num_processes, read
        self._pool = _new_pool(num_processes)
        self._alone = asyncio.Lock()

    def __enter__(self) -> VideoReaders:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def seen(self, video: SourceVideo) -> SeenVideo | Rejected:
        """What was read of a video, or why it cannot be used."""
        pool = self._pool
        try:
            return await self._in(pool, video)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = _new_pool(self._num)
        async with self._alone:
            alone = _new_pool(1)
            try:
                return await self._in(alone, video)
            except BrokenProcessPool:
                return Rejected(
                    VIDEO, "corrupt", "the process that read it died; check the file, or its memory"
                )
            finally:
                alone.shutdown(wait=False)

    async def _in(self, pool: ProcessPoolExecutor, video: SourceVideo) -> SeenVideo | Rejected:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, self._read, video, self._folder, self._settings)


def _new_pool(num_processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), initializer=_live_with_parent
    )


def _live_with_parent() -> None:
    """Ctrl-C is for the parent; and a process whose parent was killed ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
