"""Where training dialogues come from. Sources are addressed by index, so a resumed run reads on
where it stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.world_draws import check_clips, draw_world
from oncue.dialogue.frames import load_frames, locate
from oncue.dialogue.rows import parse_row
from oncue.dialogue.write import Placement, write_dialogue
from oncue.errors import ConfigError, DataError, DialogueError, InputError
from oncue.json_files import json_object
from oncue.render.actions import TextFormat
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.types import Dialogue
from oncue.video.pool_reader import Shrink
from oncue.world.clip import make_clip

Item = tuple[Dialogue, Sequence[np.ndarray]]
_EXPECTED = "an object with messages on one line"


@dataclass(frozen=True, slots=True)
class WorldSource:
    """An endless supply of made-up clips with their gold dialogues, painted on the fly.

    `worlds`: odds of each world. `num_turns`: smallest and largest number of turns of a sample.
    `mean_gap_s`: mean time between events; None takes the world's own. `empty_frac`: share of clips
    in which nothing happens. `question_kinds`: odds of each kind of question (what a world cannot
    be asked is left out); None takes the world's own. `pixel_noise`: largest standard deviation of
    the noise put on frames (levels of 255), drawn per clip: what compression does to a video file.
    `turn_odds`: odds of the first, second, ... turn of its span for a gold reply, in place of
    `placement` (see `reply_turn`).
    """

    worlds: dict[str, float] = field(default_factory=lambda: {"shapes": 1.0, "footage": 1.0})
    num_turns: tuple[int, int] = (16, 32)
    mean_gap_s: float | None = None
    empty_frac: float | None = None
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
            raise ConfigError(
                f"num_turns must be a smallest and a largest number of turns, got {self.num_turns}"
            )
        check_clips(self)

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,  # noqa: ARG002 - its frames are small
    ) -> Item:
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
            empty_frac=self.empty_frac,
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


def check_odds(name: str, odds: Sequence[float]) -> None:
    """Raises ConfigError for odds that nothing can be drawn by."""
    if not (min(odds) >= 0 and 0 < sum(odds) < math.inf):
        raise ConfigError(
            f"{name} must be numbers of 0 or more, not all of them 0, got {tuple(odds)}"
        )


def with_noise(
    frames: list[np.ndarray], deviation: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """The frames with grey noise; one field is drawn, and each frame gets another stretch of it."""
    if deviation < 0.5:
        return frames
    height, width = frames[0].shape[:2]
    field_px = np.rint(rng.normal(0, deviation, (height + 32, width + 32, 1))).astype(np.int16)
    noisy = []
    for frame in frames:
        top, left = rng.integers(0, 32, 2)
        noisy.append(
            np.clip(frame + field_px[top : top + height, left : left + width], 0, 255).astype(
                np.uint8
            )
        )
    return noisy


@dataclass(frozen=True, slots=True)
class RowSource:
    """Dialogues of one or more JSONL files in MMDuet2's SFT row format, shuffled again in every
    epoch.

    Image paths are looked for beside the file that names them, then in the working directory.
    Frames per turn are those of the rows.
    """

    paths: tuple[Path, ...]

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,  # noqa: ARG002 - its turns are written
        frames_per_turn: int,  # noqa: ARG002
        shrink: Shrink | None = None,  # noqa: ARG002 - its pictures may differ in size
    ) -> Item:
        """Row `index` of the shuffled epochs, with its images. Errors name the row: DialogueError,
        DataError."""
        row = self._row(index, seed)
        dialogue, images = row.parse()
        with row.named():
            return dialogue, load_frames(images)

    @contextmanager
    def named(self, index: int, seed: int) -> Iterator[None]:
        """What is wrong with row `index` is a DataError that begins with its file and number."""
        with self._row(index, seed).named():
            yield

    def rows(self) -> Sequence[RowLine]:
        """Every row, in the order of the files."""
        return _lines(self.paths)

    def _row(self, index: int, seed: int) -> RowLine:
        rows = self.rows()
        epoch, place = divmod(index, len(rows))
        order = np.random.default_rng((seed, epoch)).permutation(len(rows))
        return rows[int(order[place])]

    def __len__(self) -> int:
        return len(self.rows())


@dataclass(frozen=True, slots=True)
class RowLine:
    """A row as it is written: its file, the number of its line from 1, and its text, which is
    parsed when it is needed."""

    path: Path
    number: int
    text: bytes

    def parse(self) -> tuple[Dialogue, list[Path]]:
        """Its dialogue, and a path for each of its frames. Raises DialogueError and DataError, with
        file and number, for a row that breaks the format."""
        dialogue, images = parse_row(json_object(self.text, str(self), _EXPECTED), str(self))
        if len(images) != dialogue.num_frames:
            raise DialogueError(
                f"{self}: it shows {dialogue.num_frames} frames but lists no images; give their "
                "paths"
            )
        return dialogue, [locate(image, self.path.parent) for image in images]

    @contextmanager
    def named(self) -> Iterator[None]:
        """What is wrong in the block is a DataError that begins with file and number."""
        try:
            yield
        except InputError as error:
            raise DataError(f"{self}: {error}") from error

    def __str__(self) -> str:
        return f"row {self.number} of {self.path}"


def forget_rows() -> None:
    """Rows are read from their files again: these may have been edited since. During a run they
    stay what they were."""
    _lines.cache_clear()


@lru_cache(maxsize=4)
def _lines(paths: tuple[Path, ...]) -> list[RowLine]:
    lines: list[RowLine] = []
    for path in paths:
        if not path.is_file():
            raise ConfigError(
                f"there is no training file {path}; give JSONL files in the SFT row format"
            )
        with path.open("rb") as file:
            lines += [
                RowLine(path, number, line)
                for number, line in enumerate(file, start=1)
                if line.strip()
            ]
    if not lines:
        raise ConfigError(
            f"no rows in {', '.join(map(str, paths)) or 'no files'}; give JSONL files with --data"
        )
    return lines
