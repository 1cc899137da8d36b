"""Sound times for frames: containers leave times out, give decoding order for showing order, and
jump."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

DEFAULT_STEP_S = 1 / 25
BACK_JUMP_S = 1.0  # further back is a new count (joined recordings), not disorder
AHEAD_JUMP_S = (
    3600.0  # over broken bytes: further ahead of all that is declared is a broken time stamp
)
# further ahead of the picture before is another recording, unless something vouches for that time
SPLICE_S = 10.0
# Formats without a table of times: their length is their last time stamp
UNVOUCHED = ("mpegts", "mpeg", "hls", "flv")


class Timeline:
    """Places frames in seconds from the first one, never going back.

    `zero_s` is the container time of second 0, None before the first frame; `next_s` is where the
    next frame is due. `is_joined`: the container's times began again somewhere, so that it does not
    declare the length of what is shown. `left_out_s`: how far the newest frame was ahead, where
    that was taken for a joint; else 0.
    """

    def __init__(
        self, stream: VideoStream, declared_s: float | None, container_name: str = ""
    ) -> None:
        rate = stream.average_rate or stream.guessed_rate
        self.zero_s: float | None = None
        self.is_joined = False
        self.left_out_s = 0.0
        self.next_s = 0.0
        self._stream = stream
        self._step_s = 1 / float(rate) if rate else DEFAULT_STEP_S
        self._declared_s = declared_s or 0.0
        self._vouched_s = (
            0.0 if any(name in container_name for name in UNVOUCHED) else self._declared_s
        )
        self._last_s = 0.0
        self._num_faulty = {"pts": 0, "dts": 0}
        self._last_stamp: dict[str, int] = {}

    def go_on(self, stream: VideoStream, pause_s: float) -> None:
        """The next frame is of another connection, `pause_s` after the last one: its stamps count
        from elsewhere."""
        self._stream, self.zero_s = stream, None
        self.next_s += pause_s
        self._num_faulty = {"pts": 0, "dts": 0}
        self._last_stamp.clear()

    def place(
        self,
        frame: VideoFrame,
        damaged_start: bool,
        is_time_lost: bool = False,
        passed_s: float = 0.0,
    ) -> float:
        """Seconds of `frame`. After a `damaged_start` second 0 is the declared start, where known.

        A frame that is `SPLICE_S` further ahead than expected is a joint, unless that time is
        vouched for: it lies within the length that a table of the container declares; or there are
        bytes of it, but broken ones (`is_time_lost`); or it really passed, as a live source has
        been watched for `passed_s`.
        """
        raw_s = self._in_seconds(frame, self._stamp(frame))
        if self.zero_s is None:
            self.zero_s = self._first_zero(raw_s or 0.0, damaged_start) - self.next_s
        time_s = self.next_s if raw_s is None else raw_s - self.zero_s
        self.left_out_s = 0.0
        horizon_s = max(max(self.next_s, passed_s) + SPLICE_S, self._vouched_s)
        if is_time_lost:
            horizon_s = max(self._last_s, self._declared_s) + AHEAD_JUMP_S
        if not self._last_s - BACK_JUMP_S <= time_s <= horizon_s:
            self.is_joined = True
            self.left_out_s = max(0.0, time_s - self.next_s)
            self.zero_s += time_s - self.next_s
            time_s = self.next_s
        self._last_s = max(time_s, self._last_s)
        self.next_s = self._last_s + (self._in_seconds(frame, frame.duration) or self._step_s)
        return self._last_s

    def seconds_of(self, frame: VideoFrame) -> float | None:
        """Where `frame` would be by its own pts; None where that is not known."""
        raw_s = self._in_seconds(frame, frame.pts)
        return None if raw_s is None or self.zero_s is None else raw_s - self.zero_s

    def _in_seconds(self, frame: VideoFrame, stamp: int | None) -> float | None:
        base = frame.time_base or self._stream.time_base
        return None if stamp is None or base is None else float(stamp * base)

    def _first_zero(self, raw_s: float, damaged_start: bool) -> float:
        stream = self._stream
        if not damaged_start or stream.start_time is None or stream.time_base is None:
            return raw_s
        return min(raw_s, float(stream.start_time * stream.time_base))

    def _stamp(self, frame: VideoFrame) -> int | None:
        """The frame's pts; its dts where the pts went back more often (AVI with reordered
        frames)."""
        stamps = {
            kind: stamp
            for kind, stamp in (("pts", frame.pts), ("dts", frame.dts))
            if stamp is not None
        }
        for kind, stamp in stamps.items():
            self._num_faulty[kind] += stamp <= self._last_stamp.get(kind, stamp - 1)
            self._last_stamp[kind] = stamp
        best = (
            "pts"
            if "pts" in stamps and self._num_faulty["pts"] <= self._num_faulty["dts"]
            else "dts"
        )
        return stamps.get(best, stamps.get("pts"))
