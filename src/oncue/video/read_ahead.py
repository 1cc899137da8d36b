"""Reading a file while something else is busy: while a model loads, the first stretch of the video
is decoded."""

from __future__ import annotations

import threading
from collections import deque

from oncue.types import FrameBatch, FrameSource


class ReadAhead:
    """A source that a thread reads from the moment it is made, up to `max_bytes` of waiting frames
    (at least one).

    For sources that can be read at any speed; a live one would only grow older in here. An error of
    the source is raised where its frame would have come. `close` stops the thread.
    """

    def __init__(self, source: FrameSource, max_bytes: int = 96 * 2**20) -> None:
        self.source, self.max_bytes = source, max_bytes
        self.frame_interval_s = source.frame_interval_s
        self._frames: deque[FrameBatch] = deque()
        self._num_bytes = 0
        self._ended: bool = False
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read_on, name="oncue-read-ahead", daemon=True)
        self._thread.start()

    @property
    def duration_s(self) -> float | None:
        return getattr(self.source, "duration_s", None)

    def read(self) -> FrameBatch | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._ended or self._closed)
            if self._frames and not self._closed:
                batch = self._frames.popleft()
                self._num_bytes -= batch.pixels.nbytes
                self._changed.notify_all()
                return batch
            if self._error is not None and not self._closed:
                raise self._error
            return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._frames.clear()
            self._changed.notify_all()
        self.source.close()
        self._thread.join(timeout=10)

    def _read_on(self) -> None:
        while True:
            try:
                batch = self.source.read()
            except Exception as error:  # carried to the reader
                batch, self._error = None, error
            with self._changed:
                if batch is None:
                    self._ended = True
                else:
                    self._frames.append(batch)
                    self._num_bytes += batch.pixels.nbytes
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._closed or self._ended or self._num_bytes < self.max_bytes
                )
                if self._closed or self._ended:
                    return
