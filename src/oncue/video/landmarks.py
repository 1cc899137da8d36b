"""What is known of a video before its pictures are decoded: where it ends, and where decoding can
begin.

An index of the container tells, or else all packets of a file are read, which takes about a
hundredth of the time of decoding them. Nothing here repairs anything: where a video is not as it
should be, there are no landmarks, and it has to be decoded from its beginning.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.errors import InputError
from oncue.video.damage import LostBytes
from oncue.video.decode import TRUNCATED_S, Decoder
from oncue.video.opening import file_path, is_url, source_name
from oncue.video.packets import packets_of
from oncue.video.timeline import BACK_JUMP_S, DEFAULT_STEP_S, SPLICE_S, UNVOUCHED

if TYPE_CHECKING:
    from av import Packet

SHORT_S = 5.0  # a shorter video is decoded as soon as it was looked at
# Times of AVI are counted from chunk to chunk: a jump trusts that the index misses none.
COUNTED = ("avi",)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """`zero_s` is the first picture on the container's clock; all else counts from there.

    `keys_s`: where decoding can begin, in order of time. `end_s`: the end of the video, as
    `Decoder.end_s` would be once it was decoded. `is_indexed`: the container leads to the keys by
    itself, so that what lies between need not be read.
    """

    zero_s: float
    keys_s: tuple[float, ...]
    end_s: float
    is_indexed: bool

    def key_before(self, time_s: float) -> float:
        """The last place at or before `time_s` where decoding can begin."""
        return self.keys_s[max(0, bisect_right(self.keys_s, time_s) - 1)]

    def num_jumps(self, moments_s: Iterable[float]) -> int:
        """How often decoding can begin again, at most, to show the pictures at the moments."""
        return len({self.key_before(moment_s) for moment_s in moments_s} - {self.keys_s[0]})


def find_landmarks(spec: str | Path) -> Landmarks | None:
    """The landmarks of a sound video; None for a short one, and where it has to be decoded to know
    more.

    Raises InputError for a source without an end, VideoError for what cannot be opened or has no
    picture.
    """
    for read in (_of_index,) if is_url(spec) else (_of_index, _of_packets):
        decoder = Decoder(spec, is_quiet=True)
        try:
            refuse_live(decoder)
            if decoder.declared_s is not None and decoder.declared_s < SHORT_S:
                return None
            if (found := read(decoder)) is not None:
                return found
        finally:
            decoder.close()
    return None


def refuse_live(decoder: Decoder) -> None:
    """Raises InputError for a source without an end."""
    if decoder.is_live:
        raise InputError(
            f"{source_name(decoder.spec)} is live: frames cannot be spread over a video without an "
            "end; record a part of it, and give that file"
        )


def _of_index(decoder: Decoder) -> Landmarks | None:
    """Of formats whose index and length are one table. Both ends are looked at: where the first
    picture is, and whether the data reaches as far as the length says."""
    import av

    name, declared_s, stream = decoder.container.format.name, decoder.declared_s, decoder.stream
    if declared_s is None or any(each in name for each in (*UNVOUCHED, *COUNTED)):
        return None
    assert stream.time_base is not None
    with contextlib.closing(decoder.frames()) as frames:
        next(frames)
    zero_s = decoder.zero_s
    data_end_s = newest_s = 0.0  # of all tracks, and of the pictures
    try:
        decoder.container.seek(int((zero_s + declared_s) / stream.time_base), stream=stream)
        for packet in packets_of(decoder.container):
            if packet.pts is None or packet.time_base is None:
                continue
            time_s = float(packet.pts * packet.time_base) - zero_s
            data_end_s = max(data_end_s, time_s + float((packet.duration or 0) * packet.time_base))
            if packet.stream_index == stream.index and not packet.is_discard:
                newest_s = max(newest_s, time_s)
    except av.FFmpegError:  # cannot jump, or is damaged
        return None
    keys = [entry.timestamp for entry in stream.index_entries if entry.is_keyframe]
    keys_s = tuple(float((key - keys[0]) * stream.time_base) for key in keys)
    is_whole = declared_s - data_end_s <= TRUNCATED_S and newest_s <= declared_s
    if not is_whole or not keys_s or keys_s[-1] < declared_s / 2:
        return None
    return Landmarks(zero_s, keys_s, declared_s, is_indexed=True)


def _of_packets(decoder: Decoder) -> Landmarks | None:
    """Of any file whose packets all have sound times, without gaps and steps back."""
    import av

    scan = _Scan(decoder)
    stream = decoder.stream
    lost_bytes = LostBytes(decoder.container.format.name, stream, file_path(decoder.spec))
    try:
        for packet in packets_of(decoder.container):
            if lost_bytes.before(packet) or packet.is_corrupt or not scan.goes_on(packet):
                return None
    except av.FFmpegError:
        return None
    return scan.landmarks()


class _Scan:
    """What the packets of a file, in order, say about it."""

    def __init__(self, decoder: Decoder) -> None:
        self._stream, self._declared_s = decoder.stream, decoder.declared_s
        is_vouched = not any(each in decoder.container.format.name for each in UNVOUCHED)
        self._vouched_s = (decoder.declared_s or 0.0) if is_vouched else 0.0
        rate = decoder.stream.average_rate or decoder.stream.guessed_rate
        self._step_s = 1 / float(rate) if rate else DEFAULT_STEP_S
        self._keys_s: list[float] = []  # on the container's clock, as all here
        self._newest_s = self._shown_s = self._data_end_s = 0.0
        self._dts: int | None = None

    def goes_on(self, packet: Packet) -> bool:
        """Take in `packet`; False for one that does not follow from those before it."""
        is_picture = packet.stream_index == self._stream.index
        stamp = packet.pts if packet.pts is not None or is_picture else packet.dts
        if stamp is None or packet.time_base is None:
            return not is_picture
        time_s = float(stamp * packet.time_base)
        length_s = float((packet.duration or 0) * packet.time_base)
        self._data_end_s = max(self._data_end_s, time_s + length_s)
        if not is_picture or packet.is_discard:
            return True
        if not self._keys_s:
            if not packet.is_keyframe:
                return False
            self._newest_s = self._shown_s = time_s
        zero_s = self._keys_s[0] if self._keys_s else time_s
        horizon_s = max(self._shown_s + SPLICE_S, zero_s + self._vouched_s)
        if not zero_s <= time_s <= horizon_s or self._steps_back(packet, time_s):
            return False
        if packet.is_keyframe:
            if self._keys_s and time_s <= self._keys_s[-1]:
                return False
            self._keys_s.append(time_s)
        if time_s >= self._newest_s:
            self._newest_s, self._shown_s = time_s, time_s + (length_s or self._step_s)
        return True

    def _steps_back(self, packet: Packet, time_s: float) -> bool:
        """Showing times go back where pictures are reordered; decoding times, where there are any,
        must not."""
        if packet.dts is None:
            return time_s < self._newest_s - BACK_JUMP_S
        last_dts, self._dts = self._dts, packet.dts
        return last_dts is not None and packet.dts < last_dts

    def landmarks(self) -> Landmarks | None:
        """What came of it; None where there was no picture."""
        if not self._keys_s:
            return None
        zero_s = self._keys_s[0]
        end_s = self._shown_s - zero_s
        if self._declared_s is not None:
            if self._declared_s - (self._data_end_s - zero_s) <= TRUNCATED_S:
                end_s = self._declared_s
            else:
                return None  # cut off, which is to be said
        end_s = max(end_s, self._newest_s - zero_s)
        keys_s = tuple(key_s - zero_s for key_s in self._keys_s)
        return Landmarks(zero_s, keys_s, end_s, is_indexed=False)
