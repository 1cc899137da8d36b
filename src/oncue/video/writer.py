"""Writing small video files."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oncue.errors import VideoError
from oncue.files import replacing

if TYPE_CHECKING:
    from av.container import OutputContainer

KEY_FRAME_EVERY_S = 2.0  # what a corrupt byte can spoil, and how far a browser must seek back


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], frame_rate: float, crf: int = 20
) -> None:
    """Writes `frames`, each (H, W, 3) uint8 RGB of one size, as H.264 in an MP4 file.

    Frame i is at i / frame_rate seconds. Frames are taken one by one; the file takes its place when
    complete, so nobody ever sees half of one. `crf` is 0 (lossless) to 51. Odd sizes are kept (in
    4:4:4 colour, which some browsers do not play). Raises VideoError without frames, for frames of
    different sizes, or for a rate that is not positive.
    """
    import av

    if not 0 < frame_rate <= 1000:
        raise VideoError(f"frame_rate must be in (0, 1000] frames per second, got {frame_rate}")
    rate = Fraction(frame_rate).limit_denominator(10_000)
    with (
        replacing(Path(path)) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        stream: Any = None
        for index, pixels in enumerate(frames):
            stream = stream or _add_stream(container, rate, pixels, crf)
            _check(pixels, stream, index)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        if stream is None:
            raise VideoError(f"there are no frames to write to {path}; expected at least one")
        container.mux(stream.encode(None))


def _add_stream(container: OutputContainer, rate: Fraction, pixels: np.ndarray, crf: int) -> Any:
    group = max(1, round(KEY_FRAME_EVERY_S * rate))
    stream = container.add_stream(
        "libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast", "g": str(group)}
    )
    stream.height, stream.width = pixels.shape[:2]
    odd = stream.height % 2 or stream.width % 2
    stream.pix_fmt = "yuv444p" if odd else "yuv420p"
    stream.codec_context.thread_count = 2
    return stream


def _check(pixels: np.ndarray, stream: Any, index: int) -> None:
    expected = (stream.height, stream.width, 3)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise VideoError(
            f"frame {index} is {pixels.shape} {pixels.dtype}; expected {expected} uint8, like the "
            "first"
        )
