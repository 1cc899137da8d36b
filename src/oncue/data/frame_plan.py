"""Which clips a frame store holds, and in which shard: written down before any is made, so that a
build that was killed goes on with the shards that are missing, and ends with the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from oncue.data.frame_index import Clip, FailedClip, StoreSettings, read_shard, shard_paths
from oncue.errors import ConfigError, DataError
from oncue.fields import Index, NonEmptyText, VideoSpan, rows_in
from oncue.files import write_json, write_text


@dataclass(frozen=True, slots=True)
class StorePlan:
    """Which clips are in which shard; `missing` are the shards still to be made."""

    folder: Path
    settings: StoreSettings
    shards: tuple[tuple[Clip, ...], ...]
    missing: tuple[int, ...]


def plan_store(
    folder: Path,
    settings: StoreSettings,
    clips: Iterable[Clip],
    *,
    clips_per_shard: int,
    retry: bool = False,
) -> StorePlan:
    """Writes what the store in `folder` will hold: what it was to hold before, then each clip that
    is new, and with `retry` each that failed. Raises ConfigError where the store has frames of
    other settings."""
    if (folder / "store.json").is_file():
        there = StoreSettings.read(folder)
        if there != settings:
            raise ConfigError(_other_settings(folder, there, settings))
    write_json(folder / "store.json", asdict(settings))
    shards = [tuple(shard) for shard in planned_clips(folder)]
    done = {number for number, shard in enumerate(shards) if _is_made(folder, number, shard)}
    failed = _failed_keys(folder, sorted(done)) if retry else frozenset()
    # Those that a run which was stopped has already planned again are not planned twice
    failed -= {clip.key for n, shard in enumerate(shards) if n not in done for clip in shard}
    known = {clip.key for shard in shards for clip in shard} - failed
    new = list({clip.key: clip for clip in clips if clip.key not in known}.values())
    shards += [tuple(new[k : k + clips_per_shard]) for k in range(0, len(new), clips_per_shard)]
    write_text(
        folder / "clips.jsonl",
        "".join(_line(number, clip) for number, shard in enumerate(shards) for clip in shard),
    )
    missing = tuple(number for number in range(len(shards)) if number not in done)
    return StorePlan(folder, settings, tuple(shards), missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    shard: Index
    video: NonEmptyText
    part: VideoSpan | None


def _line(shard: int, clip: Clip) -> str:
    part = None if clip.part is None else [clip.part.start_s, clip.part.end_s]
    return (
        json.dumps({"shard": shard, "video": clip.video, "part": part}, ensure_ascii=False) + "\n"
    )


def planned_clips(folder: Path) -> list[list[Clip]]:
    """The clips of each shard of a store, as they were planned."""
    path, shards = folder / "clips.jsonl", list[list[Clip]]()
    if not path.is_file():
        return shards
    for _, line in rows_in(path, _Planned, "a clip, an object with shard, video and part"):
        shards += [[] for _ in range(line.shard + 1 - len(shards))]
        shards[line.shard].append(Clip(line.video, line.part))
    return shards


def _is_made(folder: Path, number: int, clips: Sequence[Clip]) -> bool:
    """Whether a shard is there with these clips."""
    tar, index = shard_paths(folder, number)
    if not (tar.is_file() and index.is_file()):
        return False
    try:
        facts, held = read_shard(index)
        keys = [clip.failed if isinstance(clip, FailedClip) else clip.key for clip in held]
    except DataError:  # it is made once more
        return False
    return facts.num_bytes == os.path.getsize(tar) and keys == [clip.key for clip in clips]


def _failed_keys(folder: Path, numbers: Sequence[int]) -> frozenset[str]:
    """The keys of the clips of these shards of which there are no frames."""
    failed: set[str] = set()
    for number in numbers:
        for clip in read_shard(shard_paths(folder, number)[1])[1]:
            if isinstance(clip, FailedClip):
                failed.add(clip.failed)
            else:
                failed.discard(clip.key)
    return frozenset(failed)


def _other_settings(folder: Path, there: StoreSettings, given: StoreSettings) -> str:
    was, now = asdict(there), asdict(given)
    differ = "; ".join(
        f"{name} {was[name]}, and {now[name]} is asked for"
        for name in was
        if was[name] != now[name]
    )
    return f"{folder} has frames with {differ}; give the same settings, or another --out"
