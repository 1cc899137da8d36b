"""What to leave out around damage: a decoder goes on after an error, but shows smeared pictures for a while."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from oncue.video.timeline import BACK_JUMP_S

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

RESYNC_LIMIT_S = 10.0  # a stream without key frames heals by itself in this time, or never
MAX_REFUSED = 600  # packets to wait for a key packet
MAX_UNSEEN_BYTES = 512  # between two blocks of a sound file: the heads of a block and a cluster, less than 50
AVI_CHUNK_HEAD_BYTES = 8


class Damage:
    """Decides which frames after an error are hidden: all up to the next sound key frame not older than the error.

    A decoder with several threads reports an error some packets late, so the oldest of the `frames_in_flight` packets
    sent last counts as the damaged one. `open` while frames are being hidden; `shown_until_s` is kept by the caller.
    """

    def __init__(self, frames_in_flight: int) -> None:
        self.open = False
        self.shown_until_s = 0.0
        self._resume_pts: int | None = None
        self._sent: deque[int] = deque(maxlen=frames_in_flight)
        self._num_refused: int | None = None

    def note_sent(self, packet: Packet | None) -> None:
        if packet is not None and packet.pts is not None:
            self._sent.append(packet.pts)

    def await_key_packet(self) -> None:
        """The decoder was reset: nothing is of use to it before the next key packet."""
        self._num_refused = self._num_refused or 0

    def refuses(self, packet: Packet | None) -> bool:
        """Whether `packet` must be kept from the decoder. In a stream without key packets, not for long."""
        if self._num_refused is None:
            return False
        if packet is None or packet.is_keyframe or self._num_refused == MAX_REFUSED:
            self._num_refused = None
            return False
        self._num_refused += 1
        return True

    def begin(self, pts: int | None) -> None:
        """Something broke at `pts` (None: not known)."""
        self.open = True
        known = [*self._sent, *(() if pts is None else (pts,))]
        if known:
            self._resume_pts = min(known) if self._resume_pts is None else max(min(known), self._resume_pts)

    def hides(self, frame: VideoFrame, time_s: float | None) -> bool:
        """Whether `frame` (at `time_s`, if known) must not be shown. Notices by itself one that is marked damaged."""
        if frame.is_corrupt:
            self.open = True
            self._resume_pts = frame.pts
            return True
        if not self.open:
            return False
        anew = time_s is not None and time_s < self.shown_until_s - BACK_JUMP_S  # times start over: nothing to compare
        if frame.key_frame and (anew or self._resume_pts is None or frame.pts is None or frame.pts >= self._resume_pts):
            return False
        return time_s is None or time_s - self.shown_until_s < RESYNC_LIMIT_S

    def end(self) -> float:
        """Close the stretch; gives the second at which it began."""
        self.open = False
        self._resume_pts = None
        return self.shown_until_s


class LostBytes:
    """Finds stretches of a file that its reader skipped without a word, by the positions of the packets.

    Matroska: bytes between two blocks belong to no packet. MPEG-TS: so it is too where decoding times jump (padding is
    allowed). AVI: a packet does not come when the index of the file says; AVI packets are timed by counting, so all
    that follow are set to the time of the index.
    """

    def __init__(self, container_name: str, stream: VideoStream) -> None:
        self._matroska = "matroska" in container_name
        self._mpegts = container_name == "mpegts"
        self._due_dts: int | None = None
        self._index = stream.index_entries if container_name == "avi" else ()
        self._stream_index = stream.index
        self._end: int | None = None
        self._num_passed = 0
        self._shift = 0

    def before(self, packet: Packet) -> bool:
        """Whether something was skipped between the packets before and this one, whose times are set right."""
        if packet.pos is None or packet.pos < 0:
            return False
        unseen = self._end is not None and packet.pos - self._end > MAX_UNSEEN_BYTES
        self._end = max(self._end or 0, packet.pos + packet.size)
        if self._matroska:
            return unseen
        if packet.stream_index != self._stream_index:
            return False
        return self._jumps(packet) and unseen if self._mpegts else self._behind_index(packet)

    def _jumps(self, packet: Packet) -> bool:
        jumps = self._due_dts is not None and packet.dts is not None and packet.dts > self._due_dts
        if packet.dts is not None:
            self._due_dts = packet.dts + 3 * (packet.duration or 0) // 2
        return jumps

    def _behind_index(self, packet: Packet) -> bool:
        index, chunk = self._index, packet.pos - AVI_CHUNK_HEAD_BYTES
        while self._num_passed < len(index) and index[self._num_passed].pos < chunk:
            self._num_passed += 1
        shift = self._shift
        if packet.dts is not None and self._num_passed < len(index) and index[self._num_passed].pos == chunk:
            shift = index[self._num_passed].timestamp - packet.dts
        lost, self._shift = shift > self._shift, max(shift, self._shift)
        packet.dts = None if packet.dts is None else packet.dts + self._shift
        packet.pts = None if packet.pts is None else packet.pts + self._shift
        return lost
