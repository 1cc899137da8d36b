"""The held-out clips of a world as video files: which are watched, where they are kept, and how
they are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oncue import __version__
from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.eval.benchmarks.shuffled import ShuffledSource, shuffled_order
from oncue.files import prepare_folder
from oncue.types import FrameSource
from oncue.video.source import FileSource
from oncue.video.writer import write_video
from oncue.world.clip import Clip
from oncue.world.make import drawn_by, make_world, video_path

CONTROLS = ("none", "frozen", "shuffled")
FRAME_INTERVAL_S = 1.0
CLOCK = Clock(FRAME_INTERVAL_S)


@dataclass(frozen=True, slots=True)
class ClipSet:
    """Which clips are watched, and how: a frame every `frame_interval_s` seconds, one per turn.
    `seed` picks the clips of the split and, as a control, the order of shuffled frames."""

    world: str
    split: str = "test"
    limit: int = 200
    seed: int = 0
    control: str = "none"
    frame_interval_s: float = FRAME_INTERVAL_S

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"the number of clips must be at least 1, got {self.limit}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if self.control not in CONTROLS:
            raise ConfigError(
                f"unknown control {self.control!r}; expected one of {', '.join(CONTROLS)}"
            )
        if not 0 < self.frame_interval_s < math.inf:
            raise ConfigError(
                "the frame interval must be a positive number of seconds, got "
                f"{self.frame_interval_s}"
            )

    @property
    def clock(self) -> Clock:
        return Clock(self.frame_interval_s)


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A clip and the video file that shows it."""

    clip: Clip
    path: Path


def cache_folder(root: Path, clips: ClipSet) -> Path:
    """The folder of these clips below `root`. Its name holds a digest of what draws them: a changed
    world never meets the videos of an older one."""
    return root / f"{__version__}-{drawn_by()}-{clips.world}-{clips.split}-{clips.seed}"


def prepare(
    root: Path, clips: ClipSet, on_clip: Callable[[], None] = lambda: None
) -> list[ClipFile]:
    """The clips as video files; those already there are kept. `on_clip` is called after each.

    Raises ConfigError for an unknown world or split, InputError for a folder that cannot be
    written.
    """
    folder = cache_folder(root, clips)
    prepare_folder(folder, "give another folder (--cache)")
    made = make_world(
        folder,
        world=clips.world,
        split=clips.split,
        count=clips.limit,
        seed=clips.seed,
        frame_interval_s=FRAME_INTERVAL_S,
        on_clip=lambda _clip, _path: on_clip() if clips.control != "frozen" else None,
    )
    if clips.control != "frozen":
        return [ClipFile(clip, video_path(folder, clip)) for clip in made]
    return [_standing_still(folder, clip, on_clip) for clip in made]


def _standing_still(folder: Path, clip: Clip, on_clip: Callable[[], None]) -> ClipFile:
    still = clip.standing_still()
    path = folder / "frozen" / f"{still.clip_id}.mp4"
    if not path.exists():
        write_video(path, still.video_frames(), still.scene.frame_rate)
    on_clip()
    return ClipFile(still, path)


def open_clip(
    file: ClipFile, control: str = "none", frame_interval_s: float = FRAME_INTERVAL_S
) -> FrameSource:
    """The frames a watcher of this clip is shown."""
    source = FileSource(file.path, frame_interval_s)
    return ShuffledSource(source, _order_seed(file.clip)) if control == "shuffled" else source


def shown_times(clip: Clip, control: str = "none", clock: Clock = CLOCK) -> list[float]:
    """The video time in seconds of the picture in each frame of `open_clip`."""
    times_s = clip.grid_times(clock)
    if control != "shuffled":
        return times_s
    return [times_s[i] for i in shuffled_order(len(times_s), _order_seed(clip))]


def _order_seed(clip: Clip) -> tuple[int, int]:
    return clip.seed, clip.index
