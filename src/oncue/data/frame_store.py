"""Frames of many videos as JPEG in tar shards, each found without opening a tar
(`oncue.data.frame_index` says what is where)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.frame_index import (
    LINE_START,
    Clip,
    StoredClip,
    StoreSettings,
    read_clip,
    rebuild,
    shard_numbers,
    shard_paths,
)
from oncue.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, eq=False)
class FrameStore:
    """Random access to the frames of a store. `places`: index and byte of the line of each clip,
    by its key. It may be used by several processes at once."""

    folder: Path
    settings: StoreSettings
    places: dict[str, tuple[int, int]]

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def clip(self, key: str) -> StoredClip:
        """A clip by its key. Raises DataError for one that is not there."""
        return self._located(key)[1]

    def _located(self, key: str) -> tuple[Path, StoredClip]:
        if key not in self.places:
            raise DataError(
                f"{self.folder} has no frames of {key}; run oncue data frames build with the rows "
                "that name it, and look at what it lists as left out"
            )
        number, byte = self.places[key]
        tar, index = shard_paths(self.folder, number)
        with index.open("rb") as file:
            file.seek(byte)
            line = file.readline()
        found = read_clip(line, index, 1)
        assert isinstance(found, StoredClip)
        return tar, found

    def num_frames(self, clip: Clip, clock: Clock) -> int:
        """How many grid frames the clip has on `clock`. Raises DataError where the clip is not
        there, ConfigError where the frames of the store are too far apart."""
        return -(-len(self.clip(clip.key).sizes) // self._stride(clock))

    def jpegs(
        self, clip: Clip, clock: Clock, first: int = 0, end: int | None = None
    ) -> list[bytes]:
        """Grid frames number `first` to `end` - 1 of the clip on `clock` as JPEG, fewer where it
        ends before; one read of the disk. Raises as `num_frames`, and DataError for a shard that
        is cut off."""
        tar, stored = self._located(clip.key)
        stride, last = self._stride(clock), len(stored.sizes) - 1
        num_frames = -(-len(stored.sizes) // stride)
        wanted = range(first, num_frames if end is None else min(end, num_frames))
        numbers = [min((k + 1) * stride - 1, last) for k in wanted]
        if not numbers:
            return []
        start = stored.offsets[numbers[0]]
        until = stored.offsets[numbers[-1]] + stored.sizes[numbers[-1]]
        try:
            with tar.open("rb") as file:
                file.seek(start)
                held = file.read(until - start)
        except OSError as error:
            raise DataError(f"cannot read {tar} ({error.strerror}); {rebuild(tar)}") from error
        if len(held) < until - start:
            raise DataError(f"{tar} is cut off; {rebuild(tar)}")
        places = ((stored.offsets[n] - start, stored.sizes[n]) for n in numbers)
        return [held[place : place + size] for place, size in places]

    def frames(
        self, clip: Clip, clock: Clock, first: int = 0, end: int | None = None
    ) -> list[np.ndarray]:
        """The same, each (H, W, 3) uint8 RGB."""
        return [
            decoded(jpeg, f"{self.folder}: frame {first + k + 1} of {clip.key}")
            for k, jpeg in enumerate(self.jpegs(clip, clock, first, end))
        ]

    def _stride(self, clock: Clock) -> int:
        """How many frames of the store there are in one interval of `clock`."""
        own_s, asked_s = self.settings.frame_interval_s, clock.frame_interval_s
        stride = round(asked_s / own_s)
        if stride < 1 or abs(stride * own_s - asked_s) > 1e-6 * asked_s:
            raise ConfigError(
                f"{self.folder} has a frame every {own_s:g} s, and one every {asked_s:g} s is "
                f"asked for; expected a multiple of {own_s:g} s; build a store with "
                f"--frame-interval-s {asked_s:g}"
            )
        return stride


def decoded(jpeg: bytes, where: str) -> np.ndarray:
    """The picture of a JPEG, (H, W, 3) uint8 RGB. Raises DataError for what is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(
            f"{where} is no picture that can be read; oncue data frames verify says what to do"
        ) from error


def open_store(folder: Path) -> FrameStore:
    """The store in `folder`, opened once per process. A clip that is in several shards (after
    --retry) counts in the last. Raises DataError where there is none."""
    return _opened(folder)


def forget_stores() -> None:
    """Stores are opened again when they are next needed."""
    _opened.cache_clear()


@lru_cache(maxsize=8)
def _opened(folder: Path) -> FrameStore:
    settings = StoreSettings.read(folder)
    places: dict[str, tuple[int, int]] = {}
    for number in shard_numbers(folder):
        byte = 0
        with shard_paths(folder, number)[1].open("rb") as lines:
            for line in lines:
                if line.startswith(LINE_START):
                    places[line[len(LINE_START) : line.index(b'"', len(LINE_START))].decode()] = (
                        number,
                        byte,
                    )
                byte += len(line)
    return FrameStore(folder, settings, places)
