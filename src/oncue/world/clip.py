"""One made-up clip: a scene, how it is painted, and the dialogue that is due. Everything follows
from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.types import Task
from oncue.world import footage, shapes
from oncue.world.differences import differences
from oncue.world.questions import draw_task
from oncue.world.scene import Event, Scene, compose, frozen

WORLDS = ("shapes", "footage")
SPLITS = ("train", "val", "test")
FRAME_RATE = 4.0
SIZES_PX = ((126, 224), (126, 224), (144, 192), (224, 126))  # (height, width)


class Painter(Protocol):
    def frame_at(self, time_s: float) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of a world. `task` holds the questions and the gold replies."""

    clip_id: str
    world: str
    split: str
    index: int
    seed: int
    height_px: int
    width_px: int
    scene: Scene
    task: Task

    def painter(self) -> Painter:
        """Paints frames of this clip; drawing its looks takes some milliseconds, a frame much
        less."""
        rng = np.random.default_rng((*_key(self.world, self.split, self.index, self.seed), 1))
        cls = shapes.ShapesPainter if self.world == "shapes" else footage.FootagePainter
        return cls(self.scene, rng, self.height_px, self.width_px)

    def video_frames(self) -> Iterator[np.ndarray]:
        """Every frame of the video file, at `scene.frame_rate`."""
        painter = self.painter()
        for i in range(self._num_video_frames):
            yield painter.frame_at(i / self.scene.frame_rate)

    def grid_times(self, clock: Clock) -> list[float]:
        """The pts in seconds of the newest picture at each grid time; the last grid time is the
        clip's end."""
        video = Clock(1 / self.scene.frame_rate)
        last_s = (self._num_video_frames - 1) / self.scene.frame_rate
        grid_s = [
            clock.time_of(k + 1) for k in range(clock.first_at_or_after(self.scene.duration_s))
        ]
        return [
            video.frames_until(min(time_s, last_s)) / self.scene.frame_rate for time_s in grid_s
        ]

    def grid_frames(self, clock: Clock) -> list[np.ndarray]:
        """What a watcher of the uncompressed video sees: the pictures of `grid_times`.

        Equals reading the video file through a `FileSource`, apart from compression, where the clip
        is as long as its video: a length that is no whole number of video frames ends within the
        last of them.
        """
        painter = self.painter()
        return [painter.frame_at(time_s) for time_s in self.grid_times(clock)]

    @property
    def _num_video_frames(self) -> int:
        return Clock(1 / self.scene.frame_rate).first_at_or_after(self.scene.duration_s)

    def differences(self, from_s: float, to_s: float) -> list[Event]:
        """What differs in the picture of `to_s` from that of `from_s`, in the words of this
        world."""
        style = shapes.STYLE if self.world == "shapes" else footage.STYLE
        return differences(self.scene, style, from_s, to_s)

    def standing_still(self) -> Clip:
        """The same clip stopped at its middle: nothing happens, nothing is due."""
        still = frozen(self.scene, self.scene.duration_s / 2)
        return replace(
            self, clip_id=f"{self.clip_id}-frozen", scene=still, task=replace(self.task, gold=())
        )


def _key(world: str, split: str, index: int, seed: int) -> tuple[int, int, int, int]:
    return (seed, WORLDS.index(world), SPLITS.index(split), index)


def looks_of(world: str) -> tuple[str, ...]:
    """What things of this world may be called by."""
    return tuple(shapes.COLOURS) if world == "shapes" else ()


def make_clip(
    world: str,
    split: str,
    index: int,
    *,
    seed: int = 0,
    duration_s: tuple[float, float] = (16.0, 32.0),
    mean_gap_s: float | None = None,
    empty_frac: float | None = None,
    question_kinds: dict[str, float] | None = None,
) -> Clip:
    """The clip number `index` of a split; the same arguments always give the same clip.

    `duration_s`: smallest and largest length; a drawn one is a whole number of seconds, a fixed one
    (both the same) is kept as it is. `mean_gap_s`, `empty_frac` and `question_kinds` replace the
    world's own mean time between events, share of clips without any, and odds of each kind of
    question; kinds that the world cannot be asked are left out. Raises ConfigError for an unknown
    world or split, and for odds of which none can be drawn.
    """
    if world not in WORLDS:
        raise ConfigError(f"unknown world {world!r}; expected one of {', '.join(WORLDS)}")
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    rng = np.random.default_rng(_key(world, split, index, seed))
    module = shapes if world == "shapes" else footage
    style = replace(
        module.STYLE,
        mean_gap_s=module.STYLE.mean_gap_s if mean_gap_s is None else mean_gap_s,
        empty_frac=module.STYLE.empty_frac if empty_frac is None else empty_frac,
    )
    drawn_s = rng.uniform(*duration_s)
    length_s = drawn_s if duration_s[0] == duration_s[1] else float(np.round(drawn_s))
    scene = compose(style, rng, length_s, FRAME_RATE)
    height_px, width_px = SIZES_PX[int(rng.integers(len(SIZES_PX)))]
    clip_id = f"{world}-{split}-{seed}-{index:05d}"
    kinds = module.QUESTION_KINDS if question_kinds is None else question_kinds
    task = draw_task(scene, clip_id, kinds, looks_of(world), rng)
    return Clip(clip_id, world, split, index, seed, height_px, width_px, scene, task)
