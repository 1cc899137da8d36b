"""The pictures on show at a few moments of a sound video, without decoding all that lies between.

The rules are those of `oncue.video.decode`, but nothing is repaired: what is not as it should be
raises OddVideoError, and the caller decodes the video from its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from oncue.video.damage import LostBytes
from oncue.video.decode import Decoder
from oncue.video.landmarks import Landmarks
from oncue.video.opening import file_path, is_url
from oncue.video.packets import packets_of

if TYPE_CHECKING:
    from av import Packet, VideoFrame

EPSILON_S = (
    1e-6  # absorbs the rounding of times; a picture that much later than a moment is on show
)
LEAST_JUMP_S = 0.5  # reading on is as quick as a shorter jump
STEPS_BACK_S = (0.0, 1.0, 5.0, 25.0)  # to try again where a container leads behind a moment
# A picture that no other refers to says so in its head (nal_ref_idc 0) in H.264 alone: in HEVC it
# may still be needed by a higher temporal layer.
SKIPS_UNREFERENCED = ("h264",)


class OddVideoError(Exception):
    """Something is not as the landmarks promise: damage, or times that cannot be right."""


class Jumps:
    """Reads an open video for the pictures on show at `moments_s`, which never go back."""

    def __init__(self, decoder: Decoder, landmarks: Landmarks, moments_s: Sequence[float]) -> None:
        self._container, self._stream = decoder.container, decoder.stream
        self._context = decoder.stream.codec_context
        self._context.thread_count = 1  # with more, FFmpeg may hand out a damaged frame unmarked
        self._landmarks, self._moments_s = landmarks, moments_s
        path = None if is_url(decoder.spec) else file_path(decoder.spec)
        self._lost_bytes = LostBytes(decoder.container.format.name, decoder.stream, path)
        self._can_skip = self._context.codec.canonical_name in SKIPS_UNREFERENCED
        self._wanted_s = -1.0
        self._begun_s = 0.0  # of the stretch being decoded: its key picture
        self._newest_read_s = -1.0  # of the pictures read in this stretch
        self._newest_due_s = -1.0  # ... the newest at or before the wanted moment
        self._last_s: float | None = None  # of the frames of this stretch
        self._shown_s = -1.0  # of all frames given so far
        self._packets = self._read()
        self._key_packet: tuple[Packet, ...] = ()  # read already, to be decoded next

    def frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """Seconds and frame, in order: the first picture, those on show at the moments, and some
        between. Each is what `decode` gives. Raises OddVideoError."""
        yield from self._until(self._wanted_s)
        if self._shown_s < 0:
            raise OddVideoError("there is no picture")
        for moment_s in self._moments_s:
            if self._shown_s > moment_s + EPSILON_S:
                continue
            key_s = self._landmarks.key_before(moment_s)
            if key_s > max(self._newest_read_s, self._shown_s) + LEAST_JUMP_S:
                self._jump(moment_s)
            yield from self._until(moment_s)

    def _until(self, moment_s: float) -> Iterator[tuple[float, VideoFrame]]:
        """All frames up to the first later than `moment_s`, or to the end."""
        self._wanted_s, self._newest_due_s = moment_s, -1.0
        on_show_s = -1.0  # of the frames that were read for this moment
        packets = chain(self._key_packet, self._packets)
        self._key_packet = ()
        for packet in packets:
            for frame in self._decode(packet):
                time_s = self._place(frame)
                if time_s <= moment_s + EPSILON_S:
                    on_show_s = time_s
                else:
                    self._check_due(on_show_s)
                if time_s > self._shown_s:
                    self._shown_s = time_s
                    yield time_s, frame
            if self._shown_s > moment_s + EPSILON_S:
                return
        self._check_due(on_show_s)

    def _check_due(self, on_show_s: float) -> None:
        if self._can_skip and on_show_s < self._newest_due_s - EPSILON_S:
            raise OddVideoError("the picture for which others were skipped was not shown")

    def _place(self, frame: VideoFrame) -> float:
        """The time of `frame`. What shows before the key picture of a stretch does not come:
        FFmpeg's decoders drop it, as it refers to pictures that they were not given."""
        base = frame.time_base or self._stream.time_base
        if frame.pts is None or base is None:
            raise OddVideoError("a frame without a time")
        time_s = float(frame.pts * base) - self._landmarks.zero_s
        if self._last_s is None and abs(time_s - self._begun_s) > EPSILON_S:
            raise OddVideoError("a key picture was not shown")
        if frame.is_corrupt or (self._last_s is not None and time_s <= self._last_s):
            raise OddVideoError("a damaged frame, or times that go back")
        self._last_s = time_s
        return time_s

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        import av

        is_passed_by = self._is_passed_by(packet)
        if self._can_skip:
            self._context.skip_frame = "NONREF" if is_passed_by else "DEFAULT"
        try:
            return self._context.decode(packet)
        except av.FFmpegError as error:
            raise OddVideoError(str(error)) from error

    def _is_passed_by(self, packet: Packet | None) -> bool:
        """Whether a newer picture than that of `packet` is known to be due at the wanted moment."""
        if packet is None or packet.is_discard:
            return False
        time_s = self._seconds(packet)
        self._newest_read_s = max(self._newest_read_s, time_s)
        if time_s <= self._wanted_s + EPSILON_S:
            self._newest_due_s = max(self._newest_due_s, time_s)
        return time_s < self._newest_due_s

    def _jump(self, moment_s: float) -> None:
        """Go on at the last key picture at or before `moment_s`."""
        self._context.flush_buffers()
        self._last_s, self._newest_read_s = None, -1.0
        if not self._landmarks.is_indexed:
            if self._begin(self._landmarks.key_before(moment_s)) <= moment_s + EPSILON_S:
                return
        else:
            for back_s in STEPS_BACK_S:
                self._seek(max(0.0, moment_s - back_s))
                if self._begin() <= moment_s + EPSILON_S:
                    return
        raise OddVideoError("there is no key picture before a moment")

    def _seek(self, time_s: float) -> None:
        import av

        base = self._stream.time_base
        if base is None:
            raise OddVideoError("a track without a time base")
        ticks = math.floor((self._landmarks.zero_s + time_s + EPSILON_S) / base)
        try:
            self._container.seek(ticks, stream=self._stream)
        except av.FFmpegError as error:
            raise OddVideoError(str(error)) from error
        self._lost_bytes.jump()
        self._packets = self._read()

    def _begin(self, earliest_s: float = 0.0) -> float:
        """Pass over packets to the next key packet that is not earlier; gives its time."""
        for packet in self._packets:
            if packet is None or not packet.is_keyframe:
                continue
            self._begun_s = self._seconds(packet)
            if self._begun_s >= earliest_s - EPSILON_S:
                self._key_packet = (packet,)
                return self._begun_s
        raise OddVideoError("there is no key picture where one must be")

    def _read(self) -> Iterator[Packet | None]:
        """The packets of the track, and None to flush it. One is held back: a packet before lost
        bytes is damaged itself."""
        import av

        held: Packet | None = None
        try:
            for packet in packets_of(self._container):
                if self._lost_bytes.before(packet) or packet.is_corrupt:
                    raise OddVideoError("damaged data")
                if packet.stream_index == self._stream.index:
                    if held is not None:
                        yield held
                    held = packet
        except av.FFmpegError as error:
            raise OddVideoError(str(error)) from error
        yield from (held, None)

    def _seconds(self, packet: Packet) -> float:
        base = packet.time_base or self._stream.time_base
        if packet.pts is None or base is None:
            raise OddVideoError("a packet without a time")
        return float(packet.pts * base) - self._landmarks.zero_s
