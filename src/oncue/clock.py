"""The only place where frame counts become seconds and back (paper section 4.1).

The time of a user turn, and of the assistant turn that answers it, is the number of frames shown so
far, this turn included, times the frame interval. A reply to the frames of (t - interval, t] is
stamped t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_EPSILON = 1e-6  # grid steps; absorbs the rounding of a product and a quotient of doubles


SHORTEST_S = 1e-6  # between frames; the clock tells nanoseconds apart


@dataclass(frozen=True, slots=True)
class Clock:
    """Video time on a grid of `frame_interval_s` seconds (> 0)."""

    frame_interval_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.frame_interval_s) and self.frame_interval_s > 0):
            raise ValueError(
                "frame_interval_s must be a positive number of seconds, got "
                f"{self.frame_interval_s}"
            )
        if self.frame_interval_s < SHORTEST_S:
            raise ValueError(
                f"frame_interval_s must be at least {SHORTEST_S:g} s, got {self.frame_interval_s}"
            )

    def time_of(self, num_frames: int) -> float:
        """Seconds on the clock once `num_frames` frames have been shown, to the nanosecond.

        Rounded, 3 frames of 0.2 s are 0.6 s, and lie in a closed span that ends there, as 3 * 0.2
        does not.
        """
        return round(num_frames * self.frame_interval_s, 9)

    def frames_until(self, time_s: float) -> int:
        """How many frames have been shown when the clock reads `time_s`: the inverse of `time_of`,
        rounded down."""
        return math.floor(time_s / self.frame_interval_s + _EPSILON)

    def first_at_or_after(self, time_s: float) -> int:
        """The smallest number of frames whose clock is at or after `time_s`."""
        return math.ceil(time_s / self.frame_interval_s - _EPSILON)
