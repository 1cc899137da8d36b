"""Frames of a video in order of time, damage skipped. Only a few frames are held, however long the
video.

Time 0 is the first picture of the track (where the beginning is damaged: the start its container
declares). Times never go back: where a container gives frames no or senseless times, decoding times
and the frame rate stand in.
"""

from __future__ import annotations

import errno
import threading
import time
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oncue.errors import ConnectionLostWarning, CorruptStretchWarning, SourceLostError, VideoError
from oncue.video.damage import Damage, LostBytes
from oncue.video.length import declared_s
from oncue.video.opening import (
    NUM_THREADS,
    file_path,
    is_live,
    is_url,
    open_video,
    source_name,
    why_failed,
)
from oncue.video.packets import packets_of
from oncue.video.reconnect import Reconnector, why_ended
from oncue.video.timeline import Timeline

if TYPE_CHECKING:
    from av import Packet, VideoFrame

MAX_READ_FAILURES = 8  # in a row, before what remains of a damaged file is given up
TRUNCATED_S = 1.0  # data that ends so much earlier than the header says is a file cut off


def decode(path: str | Path) -> Iterator[tuple[float, VideoFrame]]:
    """Seconds from the start and frame, for every frame that can be decoded, times never going
    back.

    `frame_to_rgb` gives the upright picture of a frame. What cannot be decoded, and what follows it
    up to the next key frame, is skipped with a CorruptStretchWarning that says where.
    Raises VideoError for what is no video or holds no frame that can be decoded.
    """
    decoder = Decoder(path)
    try:
        yield from decoder.frames()
    finally:
        decoder.close()


class Decoder:
    """One open video. `frames` may be run once; after it `end_s` is the end of the video.

    `declared_s` is the duration its container promises, None where it promises none, or only that
    of a first part. `is_live`: a network source without a known end (`opening.is_live`). Where its
    connection is lost, `frames` says so (ConnectionLostWarning), opens it again, and goes on; times
    go on, too, by what passed meanwhile on the wall. `second_0_s` is where the first picture is on
    the clock of a player, which counts from where the first of all tracks begins; known once that
    picture was decoded. With `is_quiet` nothing is warned of: for what was decoded before.
    """

    def __init__(self, spec: str | Path, *, is_quiet: bool = False) -> None:
        self.spec = spec
        self._is_quiet = is_quiet
        self.container, self.stream = open_video(spec)
        self.declared_s = declared_s(self.container, self.stream, is_network=is_url(spec))
        self.is_live = is_live(spec, self.container, self.declared_s)
        self.num_frames = 0
        self.end_s = self.second_0_s = 0.0
        self._timeline = Timeline(self.stream, self.declared_s, self.container.format.name)
        self._damage = Damage(frames_in_flight=NUM_THREADS)
        self._data_end_s = 0.0  # on the container's clock: where the data of any track ends
        self._last_error = ""
        self._start_s = (self.container.start_time or 0) / 1_000_000  # AV_TIME_BASE
        self._is_of_known_size = self.container.size > 0
        self._lost_by = (
            ""  # what ended the connection; empty while it holds, and where the source ended
        )
        self._started_at = 0.0  # when the first packet was asked for
        self._waiting_since = time.monotonic()
        self._stopped = threading.Event()
        self._reconnector = Reconnector(spec, self._stopped)

    @property
    def zero_s(self) -> float:
        """Second 0 on the container's clock; known once a picture was decoded."""
        return self._timeline.zero_s or 0.0

    def stop(self) -> None:
        """Let `frames` end soon; may be called from any thread. Then `close`, once no thread is in
        `frames`."""
        self._stopped.set()

    def close(self) -> None:
        self.container.close()

    def frames(self) -> Generator[tuple[float, VideoFrame], None, None]:
        """See `decode`. Raises SourceLostError where a source without a known end is lost for
        good."""
        yield from self._frames_of_connection()
        while self.is_live and self._lost_by and self.num_frames and self._open_again():
            yield from self._frames_of_connection()
        if self._stopped.is_set():
            return
        if not self.num_frames:
            why = f" ({self._last_error})" if self._last_error else ""
            hint = (
                ". From a server without ranges, download it first"
                if str(self.spec).startswith("http")
                else ""
            )
            raise VideoError(
                f"{source_name(self.spec)} holds no frame that can be decoded{why}; expected a "
                "video that FFmpeg plays" + hint
            )
        self._finish()

    def _open_again(self) -> bool:
        """Open a lost source again; False where it stays away, or is not wanted any more."""
        self.container.close()
        opened = self._reconnector.open(
            self._lost_by, lambda what: self._tell(what, ConnectionLostWarning)
        )
        if opened is None:
            return False
        self.container, self.stream = opened
        self._timeline.go_on(self.stream, self._reconnector.opened_at - self._waiting_since)
        self._damage = Damage(frames_in_flight=NUM_THREADS)
        self._damage.shown_until_s = self._timeline.next_s
        self._lost_by = ""
        return True

    def _frames_of_connection(self) -> Generator[tuple[float, VideoFrame], None, None]:
        is_time_lost = is_hiding = False
        self._started_at = self._started_at or time.monotonic()
        if self.is_live:
            self.stream.thread_type = (
                "SLICE"  # threads that share out frames would hold pictures back
            )
        for packet, lost_bytes in self._packets():
            if lost_bytes:
                self._damage.begin(None)
                is_time_lost = True
            for frame in self._decode(packet):
                if self._damage.hides(frame, self._timeline.seconds_of(frame)):
                    is_hiding = True
                    continue
                passed_s = time.monotonic() - self._started_at if self.is_live else 0.0
                time_s = self._timeline.place(frame, self._damage.open, is_time_lost, passed_s)
                if self._damage.open:
                    start_s = self._damage.end()
                    if is_hiding or time_s > start_s:  # else nothing is missing
                        self._warn(start_s, time_s)
                if ahead_s := self._timeline.left_out_s:
                    self._tell(
                        f"times jump ahead by {ahead_s:.1f} s at {time_s:.2f} s, which is left out"
                    )
                is_time_lost = is_hiding = False
                self._damage.shown_until_s = self._timeline.next_s
                if not self.num_frames:
                    self.second_0_s = max(0.0, (self._timeline.zero_s or 0.0) - self._start_s)
                self.num_frames += 1
                self._reconnector.saw_frame()
                yield time_s, frame

    def _finish(self) -> None:
        """Settle `end_s`. Damaged time still passes; time of which the file holds no data does
        not."""
        shown_s = self._timeline.next_s
        declared_s = None if self._timeline.is_joined else self.declared_s
        self.end_s = shown_s if declared_s is None else declared_s
        if self._lost_by:
            self.end_s = shown_s
            at = "" if self.is_live else f" at {shown_s:.2f} s"
            self._say_lost(f"the connection was lost{at} ({self._lost_by})")
            return
        if declared_s is not None and declared_s - self._data_seconds() > TRUNCATED_S:
            self.end_s = max(shown_s, self._data_seconds()) if self._damage.open else shown_s
            self._warn(shown_s, declared_s, "has no data (the file is cut off)")
        elif self._damage.open:
            self._warn(self._damage.end(), max(self.end_s, shown_s))

    def _say_lost(self, what: str) -> None:
        """Of a source with a known end a part is missing; without one, nobody can know what
        comes."""
        if self.declared_s is not None or self._is_of_known_size:
            self._tell(what, ConnectionLostWarning)
            return
        again = (
            f", and {self._reconnector.num_attempts} attempts to connect again failed"
            if self.is_live
            else ""
        )
        raise SourceLostError(
            f"{source_name(self.spec)}: {what}{again}; check the camera or server, and watch again"
        )

    def _data_seconds(self) -> float:
        return self._data_end_s - (self._timeline.zero_s or 0.0)

    def _packets(self) -> Iterator[tuple[Packet | None, bool]]:
        """The packets of the track, and None to flush it; with each, whether bytes before it were
        lost.

        One packet is held back: the one before lost bytes is damaged itself and left out. Not of a
        live source, whose pictures are to be seen as they come.
        """
        path = None if is_url(self.spec) else file_path(self.spec)
        lost_bytes = LostBytes(self.container.format.name, self.stream, path)
        held: Packet | None = None
        lost = False
        for packet in self._read():
            if lost_bytes.before(packet):
                held, lost = None, True
            self._note_end(packet)
            if packet.stream_index != self.stream.index:
                continue
            ready, held = (packet, None) if self.is_live else (held, packet)
            if ready is not None:
                yield ready, lost
                lost = False
        if held is not None:
            yield held, lost
        yield None, False

    def _read(self) -> Iterator[Packet]:
        """All packets of all tracks; goes on after a read error where the container can.

        FFmpeg ends HTTP data of unknown size with an input/output error, however it ended.
        """
        import av

        num_failures = 0
        while True:
            try:
                for packet in packets_of(self.container):
                    if self._stopped.is_set():
                        return
                    num_failures = 0
                    yield packet
                    self._waiting_since = time.monotonic()
                if self.is_live:
                    self._lost_by = why_ended(
                        self.spec, self.container, time.monotonic() - self._waiting_since
                    )
                return
            except av.FFmpegError as error:
                num_failures += 1
                self._last_error = why_failed(error)
                if is_url(self.spec):
                    if self.is_live or self._is_of_known_size or error.errno != errno.EIO:
                        self._lost_by = self._last_error
                    return
                self._damage.begin(None)
                if num_failures == MAX_READ_FAILURES:
                    return

    def _note_end(self, packet: Packet) -> None:
        start = packet.pts if packet.pts is not None else packet.dts
        if start is not None and packet.time_base is not None:
            end_s = float((start + (packet.duration or 0)) * packet.time_base)
            self._data_end_s = max(self._data_end_s, end_s)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        """The frames that come out as `packet` goes in. After an error the decoder starts afresh at
        a key frame."""
        if packet is not None and packet.is_corrupt:
            self._damage.begin(packet.pts)
        if self._damage.refuses(packet):
            return []
        # An error may come from a packet sent earlier; this one is then the first to go on from
        for _ in range(2):
            frames = self._try_decode(packet)
            if frames is not None:
                return frames
            if packet is None or not packet.is_keyframe:
                break
        self._damage.await_key_packet()
        return []

    def _try_decode(self, packet: Packet | None) -> list[VideoFrame] | None:
        import av

        try:
            return self.stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            self._last_error = error.strerror
            self._damage.begin(packet.pts if packet is not None else None)
            if packet is not None:
                self.stream.codec_context.flush_buffers()
            return None
        finally:
            self._damage.note_sent(packet)

    def _warn(
        self, start_s: float, end_s: float, what: str = "cannot be decoded and was skipped"
    ) -> None:
        self._tell(f"the stretch from {min(start_s, end_s):.2f} s to {end_s:.2f} s {what}")

    def _tell(self, what: str, kind: type[CorruptStretchWarning] = CorruptStretchWarning) -> None:
        if not self._is_quiet:
            warnings.warn(f"{source_name(self.spec)}: {what}", kind, stacklevel=2)


def frame_to_rgb(
    frame: VideoFrame, height_px: int | None = None, width_px: int | None = None
) -> np.ndarray:
    """The upright picture, (H, W, 3) uint8 RGB: rotation and mirroring of the display matrix
    applied.

    `height_px` and `width_px` are those of the upright picture; without them its own.
    """
    matrix = display_matrix(frame)
    turned = matrix is not None and abs(matrix[0]) < abs(matrix[1])
    height_px, width_px = (width_px, height_px) if turned else (height_px, width_px)
    pixels = frame.to_ndarray(format="rgb24", width=width_px, height=height_px)
    if matrix is None:
        return pixels
    a, b, c, d = matrix  # a stored point (x, y) is shown at (a x + c y, b x + d y), y down
    if turned:
        pixels = pixels.transpose(1, 0, 2)
        a, d = c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """The turning part (a, b, c, d) of a frame's display matrix, or None without one or where it
    changes nothing."""
    from av.sidedata.sidedata import SideDataContainer

    # `frame.side_data` would tie the frame into a cycle, and megabytes would wait for the garbage
    # collector
    container: Any = SideDataContainer
    side = container(frame).get("DISPLAYMATRIX")
    if side is None:
        return None
    values = np.frombuffer(bytes(side), dtype="=i4")
    a, b, c, d = (int(values[i]) for i in (0, 1, 3, 4))
    return None if a > abs(b) and d > abs(c) else (a, b, c, d)
