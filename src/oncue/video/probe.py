"""What a video is: container, codec, size as shown, duration, tracks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.video.decode import Decoder, display_matrix
from oncue.video.opening import video_tracks

if TYPE_CHECKING:
    from av import VideoFrame


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts of a video and of the track that is watched.

    `width_px` and `height_px` are those of the upright picture; `rotation_deg` (0, 90, 180, 270) is
    how far the stored picture is turned clockwise to be upright. `duration_s` and `average_rate`
    (frames per second) are what the file declares, None where it does not.
    """

    path: str
    container: str
    codec: str
    width_px: int
    height_px: int
    rotation_deg: int
    duration_s: float | None
    average_rate: float | None
    num_video_tracks: int
    num_audio_tracks: int


def probe(path: str | Path) -> VideoInfo:
    """The facts of a file or URL; decodes one frame. Raises VideoError as `decode` does."""
    decoder = Decoder(path)
    try:
        with contextlib.closing(decoder.frames()) as frames:
            _, frame = next(frames)
            return describe(decoder, frame)
    finally:
        decoder.close()


def describe(decoder: Decoder, first_frame: VideoFrame) -> VideoInfo:
    """The facts of an open video whose first frame has been decoded."""
    matrix = display_matrix(first_frame)
    turned = matrix is not None and abs(matrix[0]) < abs(matrix[1])
    width_px, height_px = first_frame.width, first_frame.height
    rate = decoder.stream.average_rate
    return VideoInfo(
        path=str(decoder.spec),
        container=decoder.container.format.name,
        codec=decoder.stream.codec_context.codec.canonical_name,
        width_px=height_px if turned else width_px,
        height_px=width_px if turned else height_px,
        rotation_deg=round(-first_frame.rotation / 90) * 90 % 360,
        duration_s=decoder.declared_s,
        average_rate=float(rate) if rate else None,
        num_video_tracks=len(video_tracks(decoder.container)),
        num_audio_tracks=len(decoder.container.streams.audio),
    )
