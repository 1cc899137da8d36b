"""Reading ahead gives the same frames, holds few, and passes errors and ends on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from oncue.errors import VideoError
from oncue.types import FrameBatch
from oncue.video.read_ahead import ReadAhead


class Numbered:
    """Frames whose pixels are their number; it may fail, or never end."""

    frame_interval_s = 1.0

    def __init__(self, count: float = float("inf"), fails_at: int | None = None) -> None:
        self.count, self.fails_at, self.num_read, self.closed = count, fails_at, 0, False

    def read(self) -> FrameBatch | None:
        if self.closed or self.num_read >= self.count:
            return None
        if self.num_read == self.fails_at:
            raise VideoError("broken here")
        self.num_read += 1
        return FrameBatch(
            np.full((1, 4, 4, 3), self.num_read, np.uint8), np.array([float(self.num_read)])
        )

    def close(self) -> None:
        self.closed = True


def test_it_gives_the_same_frames_and_then_ends():
    ahead = ReadAhead(Numbered(5))
    seen = [ahead.read() for _ in range(5)]
    assert [int(batch.pixels[0, 0, 0, 0]) for batch in seen if batch] == [1, 2, 3, 4, 5]
    assert ahead.read() is None
    assert ahead.read() is None


def test_it_holds_no_more_than_it_may_of_an_endless_source():
    source = Numbered()
    ahead = ReadAhead(source, max_bytes=3 * 48)
    time.sleep(0.1)
    assert source.num_read == 3
    for _ in range(10):
        ahead.read()
    time.sleep(0.1)
    assert source.num_read == 13
    ahead.close()
    assert source.closed
    assert not ahead._thread.is_alive()
    assert ahead.read() is None


def test_an_error_comes_where_its_frame_would_have_come():
    ahead = ReadAhead(Numbered(5, fails_at=2))
    assert ahead.read() is not None
    assert ahead.read() is not None
    with pytest.raises(VideoError, match="broken here"):
        ahead.read()
