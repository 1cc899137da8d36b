"""`oncue data frames`: build, verify and show a frame store."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.number_checks import check_smallest
from oncue.errors import ConfigError, DataError
from oncue.files import alone_in, prepare_folder

if TYPE_CHECKING:
    from oncue.data.frame_build import Built
    from oncue.data.frame_index import StoreSettings

_NUM_SHOWN = 20


@dataclass(frozen=True)
class DataFramesBuild:
    """Decode the videos of rows once, and keep their frames as JPEG in tar shards.

    A build that was stopped or killed goes on with the shards that are missing. Rows that come
    later get shards of their own. Videos that cannot be used are listed and left out.

    Example: oncue data frames build rows.jsonl --videos videos/ --out frames/
    """

    rows: tyro.conf.Positional[tuple[Path, ...]]
    """Files of proactive dialogues: JSON lines, a JSON array or Parquet."""

    videos: Path
    """The folder of the videos."""

    out: Path
    """The folder of the store."""

    frame_interval_s: float = 2.0
    """Seconds from one frame to the next. Training may use this interval or a multiple of it."""

    max_pixels: int | None = None
    """Shrink frames to at most that many pixels, as the image processor of a model does."""

    cell_px: int = 28
    """With --max-pixels: sides are multiples of this, what one vision token covers (28 for
    Qwen2.5-VL, 32 for Qwen3-VL)."""

    max_side_px: int | None = None
    """Shrink frames so that no side is longer, in place of --max-pixels."""

    quality: int = 90
    """Of the JPEGs, 1 to 95."""

    clips_per_shard: int = 64
    """Videos, or used parts of videos, in one tar: what a killed process has to do again."""

    processes: int = 1
    """Processes that decode."""

    retry: bool = False
    """Try those again that could not be used before."""

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Plan, decode, write. Returns the exit code."""
        from oncue.commands.progress import Progress
        from oncue.data.frame_build import build_store
        from oncue.data.frame_plan import plan_store
        from oncue.data.proactive_sources import clips_of

        settings = self._settings()
        if not self.videos.is_dir():
            raise ConfigError(f"--videos {self.videos} is no folder; give that of the videos")
        prepare_folder(self.out, "give another --out", ("store.json", "clips.jsonl"))
        with alone_in(self.out):
            plan = plan_store(
                self.out,
                settings,
                clips_of(self.rows),
                clips_per_shard=self.clips_per_shard,
                retry=self.retry,
            )
            with Progress("shards", len(plan.missing)) as progress:
                built = build_store(
                    plan, self.videos, num_processes=self.processes, on_shard=progress.step
                )
        self._report(built)
        return 0

    def _settings(self) -> StoreSettings:
        from oncue.clock import Clock
        from oncue.data.frame_index import StoreSettings

        check_smallest(
            self, max_pixels=1, cell_px=1, max_side_px=1, quality=1, clips_per_shard=1, processes=1
        )
        if self.quality > 95:
            raise ConfigError(f"--quality must be at most 95, got {self.quality}")
        if self.max_pixels is not None and self.max_side_px is not None:
            raise ConfigError("--max-pixels and --max-side-px both set a size; give one")
        if self.max_pixels is not None and self.max_pixels < self.cell_px**2:
            raise ConfigError(
                f"--max-pixels must be at least --cell-px squared ({self.cell_px**2}), got "
                f"{self.max_pixels}"
            )
        try:
            Clock(self.frame_interval_s)
        except ValueError as error:
            raise ConfigError(f"--frame-interval-s cannot be used: {error}") from error
        return StoreSettings(
            frame_interval_s=self.frame_interval_s,
            max_pixels=self.max_pixels,
            cell_px=self.cell_px,
            max_side_px=self.max_side_px,
            quality=self.quality,
        )

    def _report(self, built: Built) -> None:
        for clip in built.failed[:_NUM_SHOWN]:
            print(f"left out: {clip.video}: {clip.why}", file=sys.stderr)
        if len(built.failed) > _NUM_SHOWN:
            print(f"left out: {len(built.failed) - _NUM_SHOWN:,} more", file=sys.stderr)
        if built.failed:
            print("correct them and try them again with --retry", file=sys.stderr)
        counts = {
            "num_clips": built.num_clips,
            "num_frames": built.num_frames,
            "num_bytes": built.num_bytes,
            "num_failed": len(built.failed),
        }
        if self.json:
            _print_json({"type": "summary", **counts, "out": str(self.out)})
        else:
            print(
                f"{self.out}: {built.num_clips:,} clips, {built.num_frames:,} frames, "
                f"{built.num_bytes / 1e6:,.1f} MB of JPEG; {len(built.failed):,} left out"
            )


@dataclass(frozen=True)
class DataFramesVerify:
    """Read every frame of a store, compare it with the index, and name what is wrong.

    Exit codes: 0 sound, 2 not.

    Example: oncue data frames verify frames/
    """

    store: tyro.conf.Positional[Path]
    """The folder of the store."""

    json: bool = False
    """One JSON object on stdout with what is wrong; everything else goes to stderr."""

    def run(self) -> int:
        """Read all of it. Returns the exit code."""
        from oncue.commands.progress import Progress
        from oncue.data.frame_plan import planned_clips
        from oncue.data.frame_verify import verify_store

        with Progress("shards", len(planned_clips(self.store))) as progress:
            wrong = list(verify_store(self.store, progress.step))
        for line in wrong:
            print(line, file=sys.stderr)
        if self.json:
            _print_json({"type": "summary", "num_wrong": len(wrong), "wrong": wrong})
        elif not wrong:
            print(f"{self.store} is sound")
        if wrong:
            raise DataError(f"{self.store}: {len(wrong)} faults; the remedy is in each line")
        return 0


@dataclass(frozen=True)
class DataFramesShow:
    """List the clips of a store, or the frames of one.

    Example: oncue data frames show frames/ --clip cooking-8fb41d25da92
    """

    store: tyro.conf.Positional[Path]
    """The folder of the store."""

    clip: str | None = None
    """The key of a clip: its frames, with time, place and size."""

    json: bool = False
    """One JSON object per line on stdout."""

    def run(self) -> int:
        """Show it. Returns the exit code."""
        from oncue.data.frame_store import open_store

        store = open_store(self.store)
        keys = sorted(store.places) if self.clip is None else ()
        for key in keys:
            clip = store.clip(key)
            about = {
                "clip": key,
                "video": clip.video,
                "part": [clip.part.start_s, clip.part.end_s] if clip.part else None,
                "num_frames": len(clip.sizes),
                "width_px": clip.width_px,
                "height_px": clip.height_px,
            }
            part = f" {about['part']}" if clip.part else ""
            self._show(
                about,
                f"{key}  {clip.video}{part}  {len(clip.sizes)} frames of "
                f"{clip.width_px}x{clip.height_px}",
            )
        if self.clip is not None:
            self._show_frames(self.clip)
        return 0

    def _show_frames(self, key: str) -> None:
        from oncue.clock import Clock
        from oncue.data.frame_index import shard_paths
        from oncue.data.frame_store import open_store

        store = open_store(self.store)
        clip, clock = store.clip(key), Clock(store.settings.frame_interval_s)
        tar = shard_paths(self.store, store.places[key][0])[0].name
        for number, (offset, size) in enumerate(zip(clip.offsets, clip.sizes, strict=True), 1):
            about = {
                "frame": f"{key}.{number:04d}.jpg",
                "time_s": clock.time_of(number),
                "shard": tar,
                "offset": offset,
                "size": size,
            }
            self._show(
                about,
                f"{about['frame']}  {about['time_s']:g} s  {size:,} bytes at {offset:,} of {tar}",
            )

    def _show(self, plain: dict[str, Any], line: str) -> None:
        _print_json(plain) if self.json else print(line)


def _print_json(plain: dict[str, Any]) -> None:
    print(json.dumps(plain, ensure_ascii=False), flush=True)
