"""What to leave out around damage: a decoder goes on after an error, but shows smeared pictures for a while."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet, VideoFrame

RESYNC_LIMIT_S = 10.0  # a stream without key frames heals by itself in this time, or never
MAX_UNSEEN_BYTES = 2048  # between two blocks: element heads and small indexes are less


class Damage:
    """Decides which frames after an error are hidden: all up to the next sound key frame not older than the error.

    A decoder with several threads reports an error some packets late, so the oldest of the `frames_in_flight` packets
    sent last counts as the damaged one. `open` while frames are being hidden; `shown_until_s` is kept by the caller.
    """

    def __init__(self, frames_in_flight: int) -> None:
        self.open = False
        self.shown_until_s = 0.0
        self._resume_pts: int | None = None
        self._hidden_since_s: float | None = None
        self._sent: deque[int] = deque(maxlen=frames_in_flight)

    def note_sent(self, packet: Packet | None) -> None:
        if packet is not None and packet.pts is not None:
            self._sent.append(packet.pts)

    def begin(self, pts: int | None) -> None:
        """Something broke at `pts` (None: not known)."""
        self.open = True
        known = [*self._sent, *(() if pts is None else (pts,))]
        if known:
            self._resume_pts = max(min(known), -math.inf if self._resume_pts is None else self._resume_pts)

    def hides(self, frame: VideoFrame, now_s: float) -> bool:
        """Whether `frame` must not be shown. Notices by itself a frame that the decoder marks as damaged."""
        if frame.is_corrupt:
            self.open = True
            self._resume_pts = frame.pts
            return True
        if not self.open:
            return False
        if frame.key_frame and (self._resume_pts is None or frame.pts is None or frame.pts >= self._resume_pts):
            return False
        hidden_s = frame.time - self.shown_until_s if frame.time is not None else 0.0
        return hidden_s < RESYNC_LIMIT_S

    def end(self) -> float:
        """Close the stretch; gives the second at which it began."""
        self.open = False
        self._resume_pts = None
        return self.shown_until_s


class LostBytes:
    """Finds stretches of a Matroska file that its reader skipped without a word, by the positions of the blocks."""

    def __init__(self, container_name: str) -> None:
        self._watches = "matroska" in container_name
        self._end: int | None = None

    def before(self, packet: Packet) -> bool:
        """Whether bytes between the packets before and this one belong to no packet."""
        if not self._watches or packet.pos is None or packet.pos < 0:
            return False
        lost = self._end is not None and packet.pos - self._end > MAX_UNSEEN_BYTES
        self._end = max(self._end or 0, packet.pos + packet.size)
        return lost
