"""What to leave out around damage: a decoder goes on after an error, but shows smeared pictures for
a while."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncue.video.timeline import BACK_JUMP_S

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

RESYNC_LIMIT_S = 10.0  # a stream without key frames heals by itself in this time, or never
MAX_REFUSED = 600  # packets to wait for a key packet
MAX_UNSEEN_BYTES = (
    512  # between two blocks of a sound file: the heads of a block and a cluster, less than 50
)
AVI_CHUNK_HEAD_BYTES = 8
# Of a transport stream packet: with its head, and without
TS_PART_BYTES, TS_PAYLOAD_BYTES = (188, 184)
# Bytes of a part, and before its head: broadcast, and disc (m2ts)
TS_LAYOUTS = ((TS_PART_BYTES, 0), (192, 4))
# The first byte of a head; the bit of the second that marks a broken part
TS_SYNC, TS_ERROR = (0x47, 0x80)
MAX_UNSEEN_TS_PARTS = 5  # tables between two frames; commonly three
MAX_LOOKED_AT_BYTES = 2**20


class Damage:
    """Decides which frames after an error are hidden: all up to the next sound key frame not older
    than the error.

    A decoder with several threads reports an error some packets late, so the oldest of the
    `frames_in_flight` packets sent last counts as the damaged one. `open` while frames are being
    hidden; `shown_until_s` is kept by the caller.
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
        """Whether `packet` must be kept from the decoder. In a stream without key packets, not for
        long."""
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
            self._resume_pts = (
                min(known) if self._resume_pts is None else max(min(known), self._resume_pts)
            )

    def hides(self, frame: VideoFrame, time_s: float | None) -> bool:
        """Whether `frame` (at `time_s`, if known) must not be shown. Notices by itself one that is
        marked damaged."""
        if frame.is_corrupt:
            self.open = True
            self._resume_pts = frame.pts
            return True
        if not self.open:
            return False
        # Times start over: nothing to compare
        starts_over = time_s is not None and time_s < self.shown_until_s - BACK_JUMP_S
        if frame.key_frame and (
            starts_over
            or self._resume_pts is None
            or frame.pts is None
            or frame.pts >= self._resume_pts
        ):
            return False
        return time_s is None or time_s - self.shown_until_s < RESYNC_LIMIT_S

    def end(self) -> float:
        """Close the stretch; gives the second at which it began."""
        self.open = False
        self._resume_pts = None
        return self.shown_until_s


class LostBytes:
    """Finds stretches of a file that its reader skipped without a word, by the positions of the
    packets.

    Matroska: bytes between two blocks belong to no packet. AVI: a packet does not come when the
    index of the file says; AVI packets are timed by counting, so all that follow are set to the
    time of the index. MPEG-TS: decoding times jump, and between the packets there are bytes that
    are neither tables, nor padding, nor another stream. A jump alone is nothing, since rates vary.
    """

    def __init__(self, container_name: str, stream: VideoStream, path: Path | None) -> None:
        """`path` of the file, None for what cannot be read a second time."""
        self._matroska = "matroska" in container_name
        self._mpegts = container_name == "mpegts"
        self._path, self._pid = path, stream.id
        self._due_dts: int | None = None
        self._index = stream.index_entries if container_name == "avi" else ()
        self._stream_index = stream.index
        self._at: int | None = None
        self._end: int | None = None
        self._num_passed = 0
        self._shift = 0

    def jump(self) -> None:
        """The next packet does not follow the one before it, as the reader was sent elsewhere."""
        self._due_dts = self._at = self._end = None

    def before(self, packet: Packet) -> bool:
        """Whether something was skipped between the packets before and this one, whose times are
        set right."""
        if packet.pos is None or packet.pos < 0:
            return False
        if self._matroska:
            return self._behind_unseen(packet)
        if self._mpegts:
            return self._behind_ts_gap(packet)
        return packet.stream_index == self._stream_index and self._behind_index(packet)

    def _behind_unseen(self, packet: Packet) -> bool:
        """Frames of one block (lacing) all have its position; an alpha channel is in a block
        beside its picture."""
        same_block = self._end is not None and packet.pos == self._at
        unseen = (
            self._end is not None and not same_block and packet.pos - self._end > MAX_UNSEEN_BYTES
        )
        size = packet.size + sum(data.data_size for data in packet.iter_sidedata())
        begin = self._end if same_block and self._end is not None else packet.pos
        self._at, self._end = packet.pos, max(self._end or 0, begin + size)
        return unseen

    def _behind_ts_gap(self, packet: Packet) -> bool:
        """Packets of several streams are mixed, so where one ends is where all before it would have
        room."""
        end, num_parts = self._end, -(-packet.size // TS_PAYLOAD_BYTES)
        self._end = max(end or 0, packet.pos) + num_parts * TS_PART_BYTES
        if packet.stream_index != self._stream_index:
            return False
        jumps = self._due_dts is not None and packet.dts is not None and packet.dts > self._due_dts
        if packet.dts is not None:
            self._due_dts = packet.dts + 3 * (packet.duration or 0) // 2
        gap = packet.pos - end if end is not None else 0
        return (
            jumps
            and gap > MAX_UNSEEN_TS_PARTS * TS_PART_BYTES
            and self._holds_lost_parts(packet.pos, gap)
        )

    def _holds_lost_parts(self, end: int, num_bytes: int) -> bool:
        """Whether more than a few of the transport packets in these bytes, which end at `end`, are
        broken, or of the track itself. What a network loses, the counters in the packets tell
        FFmpeg."""
        if self._path is None:
            return False
        num_bytes = min(num_bytes, MAX_LOOKED_AT_BYTES)
        try:
            with self._path.open("rb") as file:
                file.seek(end - num_bytes)
                data = np.frombuffer(file.read(num_bytes), np.uint8)
        except OSError:  # removed while it is watched; who has it open reads on
            return False
        num_lost = []
        for part_bytes, head in TS_LAYOUTS:
            parts = data[len(data) % part_bytes :].reshape(-1, part_bytes)[:, head:]
            pids = (parts[:, 1].astype(int) & 0x1F) << 8 | parts[:, 2]
            lost = (parts[:, 0] != TS_SYNC) | (parts[:, 1] & TS_ERROR > 0) | (pids == self._pid)
            num_lost.append(int(lost.sum()))
        return min(num_lost) > MAX_UNSEEN_TS_PARTS

    def _behind_index(self, packet: Packet) -> bool:
        index, chunk = self._index, packet.pos - AVI_CHUNK_HEAD_BYTES
        while self._num_passed < len(index) and index[self._num_passed].pos < chunk:
            self._num_passed += 1
        shift = self._shift
        if (
            packet.dts is not None
            and self._num_passed < len(index)
            and index[self._num_passed].pos == chunk
        ):
            shift = index[self._num_passed].timestamp - packet.dts
        lost, self._shift = shift > self._shift, max(shift, self._shift)
        packet.dts = None if packet.dts is None else packet.dts + self._shift
        packet.pts = None if packet.pts is None else packet.pts + self._shift
        return lost
