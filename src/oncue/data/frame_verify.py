"""Looks at every member of a frame store, and says what is wrong with it."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from oncue.data.frame_index import (
    Clip,
    FailedClip,
    StoredClip,
    StoreSettings,
    read_shard,
    rebuild,
    shard_paths,
)
from oncue.data.frame_plan import planned_clips
from oncue.data.frame_shard import digest_of
from oncue.data.frame_store import decoded
from oncue.errors import DataError


def verify_store(folder: Path, on_shard: Callable[[], None]) -> Iterator[str]:
    """What is wrong with the store, a line each with what to do; nothing for a sound one.

    Every shard is read: its digest, the names and places of its members against the index, and
    every picture. `on_shard` is called after each. Raises DataError where there is no store.
    """
    StoreSettings.read(folder)
    for number, clips in enumerate(planned_clips(folder)):
        try:
            yield from _wrong(folder, number, clips)
        except DataError as error:
            yield str(error)
        on_shard()


def _wrong(folder: Path, number: int, planned: list[Clip]) -> Iterator[str]:
    tar_path, index = shard_paths(folder, number)
    if not (tar_path.is_file() and index.is_file()):
        yield f"{tar_path} is not there; run oncue data frames build again to make it"
        return
    facts, lines = read_shard(index)
    clips = list(lines)
    keys = [clip.failed if isinstance(clip, FailedClip) else clip.key for clip in clips]
    if keys != [clip.key for clip in planned]:
        yield f"{index} has other clips than clips.jsonl; {rebuild(index)}"
        return
    sha256, num_bytes = digest_of(tar_path)
    if num_bytes != facts.num_bytes:
        yield (
            f"{tar_path} has {num_bytes:,} bytes, its index says {facts.num_bytes:,}; "
            f"{rebuild(index)}"
        )
        return
    if sha256 != facts.sha256:
        yield f"{tar_path} is not what was written: its digest differs; {rebuild(index)}"
    stored = [clip for clip in clips if isinstance(clip, StoredClip)]
    if sum(len(clip.sizes) for clip in stored) != facts.num_frames:
        yield f"{index} does not have the {facts.num_frames:,} frames it names; {rebuild(index)}"
    yield from _wrong_members(tar_path, index, stored)


def _wrong_members(tar_path: Path, index: Path, clips: list[StoredClip]) -> Iterator[str]:
    """At most one line for each clip."""
    try:
        with tarfile.open(tar_path, "r:") as tar:
            places = {m.name: (m.offset_data, m.size) for m in tar}
    except tarfile.TarError as error:
        yield f"{tar_path} is no tar that can be read ({error}); {rebuild(index)}"
        return
    with tar_path.open("rb") as file:
        for clip in clips:
            for number, place in enumerate(zip(clip.offsets, clip.sizes, strict=True), 1):
                name = f"{clip.key}.{number:04d}.jpg"
                if places.get(name) != place:
                    yield f"{tar_path}: {name} is not where the index says; {rebuild(index)}"
                    break
                file.seek(place[0])
                try:
                    decoded(file.read(place[1]), name)
                except DataError:
                    yield f"{tar_path}: {name} is no picture that can be read; {rebuild(index)}"
                    break
