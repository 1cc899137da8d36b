"""Makes a shard of a frame store: each clip decoded, shrunk and written as JPEGs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from oncue.data.frame_index import (
    Clip,
    FailedClip,
    ShardFacts,
    StoredClip,
    StoreSettings,
    shard_paths,
)
from oncue.data.video_files import find_video
from oncue.errors import InputError
from oncue.files import replacing, write_text
from oncue.render.images import FrameProcessor
from oncue.render.shrink import shrink_by
from oncue.video.excerpt import open_excerpt
from oncue.video.source import frames_of

_BLOCK = 512  # bytes of a tar
_READ_BYTES = 1 << 20


def make_shard(
    folder: Path, number: int, clips: Sequence[Clip], settings: StoreSettings, videos: Path
) -> None:
    """Writes shard `number` of the store in `folder`, and then its index: with it the shard is
    there. A clip that cannot be shown has a line that says why."""
    tar_path, index_path = shard_paths(folder, number)
    index_path.unlink(missing_ok=True)  # that of another tar
    lines: list[StoredClip | FailedClip] = []
    with replacing(tar_path) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for clip in clips:
                try:
                    jpegs, size = _jpegs(clip, settings, videos)
                except InputError as error:
                    why = str(error)
                    lines.append(FailedClip(failed=clip.key, video=clip.video, why=why))
                    continue
                lines.append(_add(tar, clip, jpegs, size, settings))
        sha256, num_bytes = digest_of(temporary)
    stored = [line for line in lines if isinstance(line, StoredClip)]
    facts = ShardFacts(
        shard=tar_path.name,
        num_bytes=num_bytes,
        sha256=sha256,
        num_clips=len(stored),
        num_frames=sum(len(clip.sizes) for clip in stored),
    )
    head = json.dumps(asdict(facts)) + "\n"
    write_text(index_path, head + "".join(line.line() for line in lines))


def _jpegs(
    clip: Clip, settings: StoreSettings, videos: Path
) -> tuple[list[bytes], tuple[int, int]]:
    """The frames of a clip, and width and height."""
    path = find_video(clip.video, videos)
    start_s, end_s = (clip.part.start_s, clip.part.end_s) if clip.part else (0.0, None)
    source = open_excerpt(path, settings.frame_interval_s, start_s, end_s)
    shrink = shrinking(settings)
    jpegs, size = [], (0, 0)
    with contextlib.closing(source):
        for batch in frames_of(source):
            pixels = shrink(batch.pixels[0])
            size = pixels.shape[1], pixels.shape[0]
            jpegs.append(_encoded(pixels, settings.quality))
    return jpegs, size


def shrinking(settings: StoreSettings) -> Callable[[np.ndarray], np.ndarray]:
    """What makes a picture (H, W, 3) uint8 RGB as small as the store holds it."""
    most = settings.max_pixels
    if most is not None:
        cell = settings.cell_px
        return shrink_by(
            FrameProcessor(
                patch_size=cell, merge_size=1, min_pixels=min(cell * cell, most), max_pixels=most
            )
        )
    side = settings.max_side_px
    return (lambda pixels: pixels) if side is None else (lambda pixels: _within(pixels, side))


def _within(pixels: np.ndarray, side_px: int) -> np.ndarray:
    from PIL import Image

    longest = max(pixels.shape[:2])
    if longest <= side_px:
        return pixels
    height, width = (max(1, round(n * side_px / longest)) for n in pixels.shape[:2])
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def _encoded(pixels: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=quality)
    return held.getvalue()


def _add(
    tar: tarfile.TarFile,
    clip: Clip,
    jpegs: Sequence[bytes],
    size: tuple[int, int],
    settings: StoreSettings,
) -> StoredClip:
    about = {
        "video": clip.video,
        "part": [clip.part.start_s, clip.part.end_s] if clip.part else None,
        "frame_interval_s": settings.frame_interval_s,
        "num_frames": len(jpegs),
    }
    _put(tar, f"{clip.key}.json", json.dumps(about, ensure_ascii=False).encode())
    offsets = [
        _put(tar, f"{clip.key}.{number:04d}.jpg", jpeg) for number, jpeg in enumerate(jpegs, 1)
    ]
    return StoredClip(
        key=clip.key,
        video=clip.video,
        part=clip.part,
        width_px=size[0],
        height_px=size[1],
        offsets=tuple(offsets),
        sizes=tuple(map(len, jpegs)),
    )


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Adds a member; gives the place of its first byte."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - -(-len(data) // _BLOCK) * _BLOCK


def digest_of(path: Path) -> tuple[str, int]:
    """The SHA-256 of a file, and its length in bytes."""
    digest, num_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            num_bytes += len(block)
    return digest.hexdigest(), num_bytes
