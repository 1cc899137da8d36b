"""Where training dialogues come from. Sources are addressed by index, so a resumed run reads on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oncue.clock import Clock
from oncue.dialogue.frames import load_frames, locate
from oncue.dialogue.rows import read_row
from oncue.dialogue.write import Placement, write_dialogue
from oncue.errors import ConfigError, DataError, DialogueError, VideoError
from oncue.render.actions import TextFormat
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.train.worlds import check_clips, draw_world
from oncue.types import Dialogue
from oncue.world.clip import make_clip

Item = tuple[Dialogue, Sequence[np.ndarray]]


@dataclass(frozen=True, slots=True)
class WorldSource:
    """An endless supply of made-up clips with their gold dialogues, painted on the fly.

    `worlds`: odds of each world. `num_turns`: smallest and largest number of turns of a sample. `mean_gap_s`: mean
    time between events; None takes the world's own. `empty_share`: share of clips in which nothing happens.
    `question_kinds`: odds of each kind of question (what a world cannot be asked is left out); None takes the world's
    own. `pixel_noise`: largest standard deviation of the noise put on frames (levels of 255), drawn per clip: what
    compression does to a video file. `turn_odds`: odds of the first, second, ... turn of its span for a gold reply,
    in place of `placement` (see `reply_turn`).
    """

    worlds: dict[str, float] = field(default_factory=lambda: {"shapes": 1.0, "footage": 1.0})
    num_turns: tuple[int, int] = (16, 32)
    mean_gap_s: float | None = None
    empty_share: float | None = None
    question_kinds: dict[str, float] | None = None
    pixel_noise: float = 0.0
    placement: Placement = Placement.END
    turn_odds: tuple[float, ...] = ()
    system: str = PROACTIVE_SYSTEM
    split: str = "train"

    def __post_init__(self) -> None:
        if self.turn_odds:
            check_odds("turn_odds", self.turn_odds)
        if not 1 <= self.num_turns[0] <= self.num_turns[1]:
            raise ConfigError(f"num_turns must be a smallest and a largest number of turns, got {self.num_turns}")
        check_clips(self)

    def item(self, index: int, seed: int, clock: Clock, frames_per_turn: int) -> Item:
        """The dialogue number `index` and its frames."""
        rng = np.random.default_rng((seed, index, 7))
        world = draw_world(self.worlds, rng)
        num_turns = int(rng.integers(self.num_turns[0], self.num_turns[1] + 1))
        length_s = clock.time_of(num_turns * frames_per_turn)
        clip = make_clip(
            world,
            self.split,
            index,
            seed=seed,
            duration_s=(length_s, length_s),
            mean_gap_s=self.mean_gap_s,
            empty_share=self.empty_share,
            question_kinds=self.question_kinds,
        )
        frames = with_noise(clip.grid_frames(clock), float(rng.uniform(0, self.pixel_noise)), rng)
        dialogue = write_dialogue(
            clip.task,
            len(frames),
            clock,
            system=self.system,
            silence=TextFormat().silence_text,
            frames_per_turn=frames_per_turn,
            placement=self.placement,
            turn_odds=self.turn_odds,
            rng=rng,
        )
        return dialogue, frames


@dataclass(frozen=True, slots=True)
class MixedSource:
    """Made-up clips of several kinds: each sample comes from one of `parts`, drawn with these `odds`."""

    parts: tuple[WorldSource, ...]
    odds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.odds):
            raise ConfigError(f"odds must be one number per part, got {len(self.odds)} for {len(self.parts)} parts")
        check_odds("odds", self.odds)

    def item(self, index: int, seed: int, clock: Clock, frames_per_turn: int) -> Item:
        """The dialogue number `index` and its frames."""
        rng = np.random.default_rng((seed, index, 11))
        part = self.parts[int(rng.choice(len(self.parts), p=np.array(self.odds) / sum(self.odds)))]
        return part.item(index, seed, clock, frames_per_turn)


def check_odds(name: str, odds: Sequence[float]) -> None:
    """Raises ConfigError for odds that nothing can be drawn by."""
    if not (min(odds) >= 0 and 0 < sum(odds) < math.inf):
        raise ConfigError(f"{name} must be numbers of 0 or more, not all of them 0, got {tuple(odds)}")


def with_noise(frames: list[np.ndarray], deviation: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The frames with grey noise; one field is drawn, and each frame gets another stretch of it."""
    if deviation < 0.5:
        return frames
    height, width = frames[0].shape[:2]
    field_px = np.rint(rng.normal(0, deviation, (height + 32, width + 32, 1))).astype(np.int16)
    noisy = []
    for frame in frames:
        top, left = rng.integers(0, 32, 2)
        noisy.append(np.clip(frame + field_px[top : top + height, left : left + width], 0, 255).astype(np.uint8))
    return noisy


@dataclass(frozen=True, slots=True)
class RowSource:
    """Dialogues of one or more JSONL files in MMDuet2's SFT row format, shuffled anew in every epoch.

    Image paths are looked for beside the file they stand in, then in the working directory. Frames per turn are those
    of the rows.
    """

    paths: tuple[Path, ...]

    def item(self, index: int, seed: int, clock: Clock, frames_per_turn: int) -> Item:  # noqa: ARG002
        """Row `index` of the shuffled epochs, with its images. Errors name the row: DialogueError, DataError."""
        lines = _lines(self.paths)
        epoch, place = divmod(index, len(lines))
        order = np.random.default_rng((seed, epoch)).permutation(len(lines))
        path, number, line = lines[int(order[place])]
        where = f"row {number} of {path}"
        try:
            dialogue, images = read_row(_object(line))
        except (ValueError, RecursionError) as error:  # DialogueError, and what is no JSON
            raise DialogueError(f"{where}: {error}") from error
        if len(images) != dialogue.num_frames:
            raise DialogueError(f"{where}: it shows {dialogue.num_frames} frames but lists no images; give their paths")
        try:
            return dialogue, load_frames([locate(image, path.parent) for image in images])
        except (DataError, VideoError) as error:
            raise DataError(f"{where}: {error}") from error

    def __len__(self) -> int:
        return len(_lines(self.paths))


def _object(line: str) -> Mapping[str, Any]:
    value = json.loads(line)
    if not isinstance(value, Mapping):  # a string would be taken for the path of a file
        raise DialogueError(f"expected an object with messages, got {value!r:.60}")
    return value


@lru_cache(maxsize=4)
def _lines(paths: tuple[Path, ...]) -> list[tuple[Path, int, str]]:
    """(file, row number, text) of every row; a row is parsed when it is needed."""
    lines: list[tuple[Path, int, str]] = []
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"there is no training file {path}; give JSONL files in the SFT row format")
        try:
            with path.open(encoding="utf-8-sig") as file:
                lines += [(path, number, line) for number, line in enumerate(file, start=1) if line.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text ({error}); give JSONL files in the SFT row format") from error
    if not lines:
        raise ConfigError(f"no rows in {', '.join(map(str, paths)) or 'no files'}; give JSONL files with --data")
    return lines


Source = WorldSource | MixedSource | RowSource
