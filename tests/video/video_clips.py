"""Small videos made for the tests. Every picture carries its own number, so that what was shown can
be read back."""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MARK_PX = 16
NUM_BITS = 8
REAL_CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "videos"


def picture(number: int, height_px: int = 64, width_px: int = 160) -> np.ndarray:
    """(H, W, 3) uint8: a moving texture, and across the top the bits of `number` in squares."""
    coarse = np.random.default_rng(0).integers(
        0, 256, (height_px // 8 + 1, width_px // 8 + 1, 3), np.uint8
    )
    pixels = np.roll(coarse.repeat(8, 0).repeat(8, 1)[:height_px, :width_px], number * 3, 1)
    for bit in range(NUM_BITS):
        pixels[:MARK_PX, bit * MARK_PX : (bit + 1) * MARK_PX] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a picture carries."""
    middle = MARK_PX // 2
    return sum(
        int(pixels[middle, bit * MARK_PX + middle, 1] > 128) << bit for bit in range(NUM_BITS)
    )


@contextmanager
def counting_alive() -> Iterator[Callable[[], int]]:
    """A count of the frames and packets that were made inside this block and are alive.

    Older objects are set aside: there are very many, and looking at some of them warns.
    """
    gc.freeze()
    try:
        yield lambda: sum(isinstance(o, av.VideoFrame | av.Packet) for o in gc.get_objects())
    finally:
        gc.unfreeze()


def make_clip(
    path: Path,
    num_frames: int = 40,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    times_ms: Sequence[int] | None = None,
    size: tuple[int, int] = (64, 160),
    pix_fmt: str = "yuv420p",
) -> Path:
    """A clip of 10 frames per second, or with frame i at `times_ms[i]`; a key frame every 10
    frames."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10, options={"g": "10", **(options or {})})
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(len(times_ms) if times_ms is not None else num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame.pts, frame.time_base = (
                index * 100 if times_ms is None else times_ms[index],
                Fraction(1, 1000),
            )
            if times_ms is None:
                frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_two_tracks(path: Path, default_track: int, num_frames: tuple[int, int] = (20, 20)) -> Path:
    """Two video tracks of different sizes, 64x160 and 96x192 pixels, of which one is marked as the
    default."""
    with av.open(str(path), "w") as container:
        tracks = []
        for index, (height_px, width_px) in enumerate(((64, 160), (96, 192))):
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = height_px, width_px, "yuv420p"
            stream.disposition = av.stream.Disposition.default if index == default_track else 0
            tracks.append(stream)
        for number in range(20):
            for stream in (
                track for track, count in zip(tracks, num_frames, strict=True) if number < count
            ):
                frame = av.VideoFrame.from_ndarray(
                    picture(number, stream.height, stream.width), format="rgb24"
                )
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(frame))
        for stream in tracks:
            container.mux(stream.encode(None))
    return path


def make_audio(path: Path, seconds: float = 1.0) -> Path:
    """A file that holds a tone and nothing else."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        for start in range(0, int(seconds * 16_000), 1024):
            wave = np.sin(np.arange(start, start + 1024) * 0.1).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Rewrites the turning part (a, b, c, d), in units of 1, of the display matrix of an MP4 file
    of one track."""
    data = bytearray(path.read_bytes())
    head = data.index(b"tkhd") + 4
    start = head + (40 if data[head] == 0 else 52)
    values = list(struct.unpack(">9i", data[start : start + 36]))
    values[0], values[1], values[3], values[4] = (v * 65536 for v in matrix)
    data[start : start + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)


def overwrite(path: Path, first_packet: int, last_packet: int, target: Path) -> Path:
    """A copy at `target` with noise from inside packet `first_packet` up to inside `last_packet`,
    in file order."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    first, last = (pos + size // 2 for pos, size in (places[first_packet], places[last_packet]))
    data[first:last] = np.random.default_rng(0).bytes(last - first)
    target.write_bytes(data)
    return target


def make_late_picture(path: Path, late_s: int, num_frames: int = 30) -> Path:
    """Sound from 0 s on, and `num_frames` pictures, ten per second, from `late_s` on."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, options={"g": "10"})
        video.height, video.width, video.pix_fmt = 64, 160, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=16_000)
        for start in range(0, (late_s * 10 + num_frames - 1) * 1600, 1024):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts, silence.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(audio.encode(silence))
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = late_s * 1000 + index * 100, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path
