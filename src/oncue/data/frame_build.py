"""Builds a frame store: every used part of a video is decoded once, and a shard is there whole or
not at all."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from oncue.data.frame_index import FailedClip, read_shard, shard_paths
from oncue.data.frame_plan import StorePlan
from oncue.data.frame_shard import make_shard
from oncue.data.frame_store import forget_stores
from oncue.errors import RunStoppedError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Built:
    """What a store holds, and of which clips there are no frames."""

    num_clips: int
    num_frames: int
    num_bytes: int
    failed: tuple[FailedClip, ...]

    def __add__(self, other: Built) -> Built:
        return Built(
            self.num_clips + other.num_clips,
            self.num_frames + other.num_frames,
            self.num_bytes + other.num_bytes,
            self.failed + other.failed,
        )


def build_store(
    plan: StorePlan, videos: Path, *, num_processes: int = 1, on_shard: Callable[[], None]
) -> Built:
    """Makes the missing shards from the files in `videos`, and says what the store holds then.

    Memory is that of the frames of one clip per process, as JPEG. `on_shard` is called after each
    shard. Ctrl-C ends it after the shards in hand. Raises RunStoppedError where a process was
    killed.
    """
    if num_processes == 1:
        for number in plan.missing:
            make_shard(plan.folder, number, plan.shards[number], plan.settings, videos)
            on_shard()
    else:
        _build_in_processes(plan, videos, num_processes, on_shard)
    forget_stores()
    latest: dict[str, Built] = {}
    for number in range(len(plan.shards)):
        latest.update(_held(plan.folder, number))
    return sum(latest.values(), Built(0, 0, 0, ()))


def _build_in_processes(
    plan: StorePlan, videos: Path, num_processes: int, on_shard: Callable[[], None]
) -> None:
    executor = ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), _end_with_parent
    )
    try:
        futures = [
            executor.submit(
                make_shard, plan.folder, number, plan.shards[number], plan.settings, videos
            )
            for number in plan.missing
        ]
        for future in as_completed(futures):
            future.result()
            on_shard()
    except BrokenProcessPool as error:
        raise RunStoppedError(
            "a process that decodes videos was ended from outside, often because memory ran out; "
            "run the same command again with fewer --processes: finished shards are kept"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Leaves Ctrl-C to the parent; on Linux, ends this process when its parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _held(folder: Path, number: int) -> Iterator[tuple[str, Built]]:
    for clip in read_shard(shard_paths(folder, number)[1])[1]:
        if isinstance(clip, FailedClip):
            yield clip.failed, Built(0, 0, 0, (clip,))
        else:
            yield clip.key, Built(1, len(clip.sizes), sum(clip.sizes), ())
