"""How fast the frame pool of a long video is read, beside decoding all of it, and whether the
frames are the same.

The video is generated: a slow pan over a texture with things that move across it, without cuts, so
that key frames come only when the encoder must set one. A few minutes are encoded and repeated, as
that costs a decoder no less. Each measurement has a process of its own, so that its peak memory is
its own.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from oncue.bench.process_memory import peak_bytes
from oncue.files import replacing, user_cache
from oncue.video.pool import FramePool
from oncue.video.pool_reader import decode_pool, read_pool

FRAME_RATE = 25
KEY_EVERY = {"key_4s": 4 * FRAME_RATE, "key_250": 250}  # frames; 250 is the default of x264
_NUM_SPRITES, _SPRITE_PX = 6, 96
_MARGIN_PX = 256  # how far the pan goes


@dataclass(frozen=True, slots=True)
class PoolBenchSettings:
    """A video of `num_repeats` times `part_s` seconds, and the frames of its pool. A part holds a
    whole number of stretches between key frames."""

    part_s: int = 300
    num_repeats: int = 12
    height_px: int = 720
    width_px: int = 1280
    num_frames: int = 64

    @property
    def video_s(self) -> int:
        return self.part_s * self.num_repeats


FULL = PoolBenchSettings()
QUICK = PoolBenchSettings(part_s=20, num_repeats=9, height_px=360, width_px=640, num_frames=16)
NUM_STEPS = 3 * len(KEY_EVERY)


@dataclass(frozen=True, slots=True)
class _Reading:
    took_s: float
    cpu_s: float
    peak_mib: float
    duration_s: float
    pictures: tuple[tuple[float, str], ...]  # true time and digest of each frame


def measure_pool(
    settings: PoolBenchSettings, folder: Path | None = None, step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The figures. The videos are kept in `folder` (by default the user's cache). `step` is called
    NUM_STEPS times."""
    figures: dict[str, Any] = {
        "video_s": settings.video_s,
        "height_px": settings.height_px,
        "width_px": settings.width_px,
        "num_frames": settings.num_frames,
        "num_cores": os.cpu_count(),
        "load_1m": os.getloadavg()[0],
    }
    for name, key_every in KEY_EVERY.items():
        path = _video(settings, key_every, folder or user_cache() / "bench")
        step()
        pool = _alone(read_pool, path, settings.num_frames)
        step()
        whole = _alone(decode_pool, path, settings.num_frames)
        step()
        pairs = zip(pool.pictures, whole.pictures, strict=True)
        figures |= {
            f"{name}_file_mib": path.stat().st_size / 2**20,
            f"{name}_pool_s": pool.took_s,
            f"{name}_decode_s": whole.took_s,
            f"{name}_ratio": whole.took_s / pool.took_s,
            f"{name}_pool_cpu_s": pool.cpu_s,
            f"{name}_decode_cpu_s": whole.cpu_s,
            f"{name}_peak_mib": pool.peak_mib,
            f"{name}_num_wrong": sum(one != other for one, other in pairs)
            + (pool.duration_s != whole.duration_s),
            f"{name}_num_pictures": len(set(whole.pictures)),
        }
    return figures


def _alone(read: Callable[[Path, int], FramePool], path: Path, num_frames: int) -> _Reading:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_timed, read, path, num_frames).result()


def _timed(read: Callable[[Path, int], FramePool], path: Path, num_frames: int) -> _Reading:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    pool = read(path, num_frames)
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    digests = (hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in pool.frames.pixels)
    pictures = tuple(zip(map(float, pool.frames.pts_s), digests, strict=True))
    return _Reading(took_s, cpu_s, peak_bytes() / 2**20, pool.duration_s, pictures)


def _video(settings: PoolBenchSettings, key_every: int, folder: Path) -> Path:
    """The generated video, from the last time where it is there."""
    size = f"{settings.height_px}p-{settings.part_s}s-{settings.num_repeats}"
    path = folder / f"pool-{size}-{key_every}.mp4"
    if not path.is_file():
        with replacing(path) as temporary:
            _write(temporary, settings, key_every)
    return path


def _write(path: Path, settings: PoolBenchSettings, key_every: int) -> None:
    import av

    part = path.with_name(f"{path.stem}-part.mp4")
    try:
        with av.open(str(part), "w", format="mp4") as container:
            options = {"preset": "veryfast", "g": str(key_every), "sc_threshold": "0"}
            stream: Any = container.add_stream("libx264", rate=FRAME_RATE, options=options)
            stream.height, stream.width = settings.height_px, settings.width_px
            stream.pix_fmt = "yuv420p"
            for number, planes in enumerate(_pictures(settings)):
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        _repeat(part, path, settings)
    finally:
        part.unlink(missing_ok=True)


def _repeat(part: Path, path: Path, settings: PoolBenchSettings) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        copied: Any = None
        for number in range(settings.num_repeats):
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                copied = copied or container.add_stream_from_template(stream)
                assert stream.time_base is not None
                shift = round(number * settings.part_s / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None and packet.pts is not None:
                        packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                        packet.stream = copied
                        container.mux(packet)


def _pictures(settings: PoolBenchSettings) -> Iterator[np.ndarray]:
    """The planes of each picture of a part, (H * 3 / 2, W) uint8 YUV 4:2:0."""
    height, width = settings.height_px, settings.width_px
    random = np.random.default_rng(0)
    planes = [
        _texture(random, (height + _MARGIN_PX) // by, (width + _MARGIN_PX) // by, deviation)
        for by, deviation in ((1, 40), (2, 12), (2, 12))
    ]
    places = random.uniform(0, 1, (_NUM_SPRITES, 2)) * (height, width)
    speeds = random.uniform(-4, 4, (_NUM_SPRITES, 2))
    for number in range(settings.part_s * FRAME_RATE):
        angle = 2 * np.pi * number / (40 * FRAME_RATE)
        top, left = (2 * int(_MARGIN_PX / 4 * (1 + f(angle))) for f in (np.sin, np.cos))
        luma = planes[0][top : top + height, left : left + width].copy()
        for place, speed in zip(places, speeds, strict=True):
            y, x = ((place + number * speed) % (height - _SPRITE_PX, width - _SPRITE_PX)).astype(
                int
            )
            luma[y : y + _SPRITE_PX, x : x + _SPRITE_PX] //= 2
        chroma = [
            plane[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
            for plane in planes[1:]
        ]
        yield np.concatenate([luma.ravel(), *(c.ravel() for c in chroma)]).reshape(-1, width)


def _texture(random: np.random.Generator, height: int, width: int, deviation: float) -> np.ndarray:
    """(height, width) uint8 around 128: details of several sizes."""
    total = np.zeros((height, width), np.float32)
    for size in (1, 4, 16, 64):
        noise = random.normal(0, 1, (-(-height // size), -(-width // size))).astype(np.float32)
        total += noise.repeat(size, 0).repeat(size, 1)[:height, :width] * size**0.5
    return np.clip(128 + deviation * total / total.std(), 0, 255).astype(np.uint8)
