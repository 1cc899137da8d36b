"""A stretch of a video file, as a source of frames whose clock begins where the stretch does."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.clock import Clock
from oncue.errors import VideoError
from oncue.video.decode import Decoder
from oncue.video.jumps import EPSILON_S, Jumps, OddVideoError
from oncue.video.landmarks import Landmarks, find_landmarks
from oncue.video.source import FileSource

if TYPE_CHECKING:
    from av import VideoFrame

WORTH_A_JUMP_S = 10.0  # decoding that much, with all threads, is as quick as a jump


def open_excerpt(
    path: str | Path, frame_interval_s: float, start_s: float = 0.0, end_s: float | None = None
) -> FileSource:
    """The frames of a file from `start_s` to `end_s` (None: to its end), both seconds of the video.

    Its grid begins at `start_s`: the frame of grid index k is the newest one visible at `start_s` +
    (k + 1) * `frame_interval_s`, and its `duration_s` is that of the stretch. Raises VideoError as
    FileSource does, and where the file ends before the stretch begins.
    """
    if start_s <= 0 and end_s is None:
        return FileSource(path, frame_interval_s)
    return FileSource(
        path, frame_interval_s, _StretchDecoder(path, frame_interval_s, start_s, end_s)
    )


class _StretchDecoder(Decoder):
    """A Decoder of a stretch: its `frames` have times from the start of the stretch on (those
    before it below 0). What lies far before the stretch is not decoded where the file allows."""

    def __init__(
        self, path: str | Path, frame_interval_s: float, start_s: float, end_s: float | None
    ) -> None:
        super().__init__(path)
        self._start_s, self._until_s = start_s, end_s
        self._interval_s = frame_interval_s
        whole_s, self.declared_s = self.declared_s, None
        if whole_s is not None and whole_s <= start_s:
            self.close()
            raise VideoError(
                f"{path} ends at {whole_s:.10g} s, before the stretch from {start_s:.10g} s on; "
                "give the whole video"
            )
        last_s = min((t for t in (whole_s, end_s) if t is not None), default=None)
        self.declared_s = None if last_s is None else last_s - start_s

    def frames(self) -> Generator[tuple[float, VideoFrame], None, None]:
        landmarks = find_landmarks(self.spec) if self._start_s >= WORTH_A_JUMP_S else None
        newest_s = -1.0
        if landmarks is not None:
            self._settle_end(landmarks.end_s)
            try:
                for time_s, frame in Jumps(self, landmarks, self._moments_s(landmarks)).frames():
                    if not self._is_wanted(time_s):
                        return
                    newest_s = time_s
                    yield time_s - self._start_s, frame
                return
            except OddVideoError:
                pass  # it has to be decoded from its beginning
        with closing(Decoder(self.spec)) as whole, closing(whole.frames()) as frames:
            for time_s, frame in frames:
                if not self._is_wanted(time_s):
                    return
                if time_s > newest_s:
                    yield time_s - self._start_s, frame
            self._settle_end(whole.end_s)

    def _is_wanted(self, time_s: float) -> bool:
        """Whether the stretch goes on; where it does not, its end is settled."""
        if self._until_s is None or time_s <= self._until_s + EPSILON_S:
            return not self._stopped.is_set()
        self._settle_end(self._until_s)
        return False

    def _settle_end(self, whole_s: float) -> None:
        end_s = whole_s if self._until_s is None else min(self._until_s, whole_s)
        self.end_s = end_s - self._start_s

    def _moments_s(self, landmarks: Landmarks) -> list[float]:
        """When a grid frame is shown."""
        clock = Clock(self._interval_s)
        end_s = landmarks.end_s if self._until_s is None else min(self._until_s, landmarks.end_s)
        num_frames = max(1, clock.first_at_or_after(end_s - self._start_s))
        return [self._start_s + clock.time_of(k) for k in range(1, num_frames + 1)]
