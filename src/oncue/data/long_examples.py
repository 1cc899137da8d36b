"""Examples of retrieval from long films that are drawn as they are needed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from oncue.clock import Clock
from oncue.data.dialogue_sources import with_noise
from oncue.data.examples import RL_SEEDS
from oncue.data.retrieval_examples import RetrievalExample
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.setting_checks import require, require_at_least_one
from oncue.types import FrameBatch
from oncue.video.pool import FramePool
from oncue.video.pool_reader import Shrink
from oncue.world.long.film import LONGEST_S, SHORTEST_S, Film, check_films, make_film
from oncue.world.long.pictures import draw_pool

_SMALLEST_PX = 14  # shapes look alike in fewer pixels


@dataclass(frozen=True, slots=True)
class LongFilmExamples:
    """An endless supply of questions about long films (`oncue.world.long.film`).

    `duration_s`: shortest and longest film, whole seconds from 120 to 1200. `num_frames`: of a
    pool; `size_px`: width and height of its frames. `look`: how it may be looked into.
    `pixel_noise`: largest standard deviation of grey noise, 0 to 255; each film draws its own.
    Films are none of those that `make_film` gives for seeds below 1,000,003, so none of supervised
    training nor of files. Raises ConfigError for settings that cannot be.
    """

    duration_s: tuple[int, int] = (SHORTEST_S, LONGEST_S)
    num_frames: int = 96
    size_px: int = 28
    look: RetrievalSettings = field(default_factory=RetrievalSettings)
    pixel_noise: float = 0.0
    split: str = "train"

    def __post_init__(self) -> None:
        require_at_least_one(self, "num_frames")
        require(self.size_px >= _SMALLEST_PX, "size_px", f"at least {_SMALLEST_PX}", self.size_px)
        require(0 <= self.pixel_noise <= 255, "pixel_noise", "between 0 and 255", self.pixel_noise)
        if self.look.first_frames > self.num_frames:
            raise ConfigError(
                f"num_frames ({self.num_frames}) must be at least look.first_frames "
                f"({self.look.first_frames})"
            )
        check_films(self.split, self.duration_s)

    @property
    def has_exact_judge(self) -> bool:
        return False

    @property
    def is_retrieval(self) -> bool:
        return True

    @property
    def num_rows(self) -> int | None:
        return None

    def named(self, index: int) -> AbstractContextManager[None]:  # noqa: ARG002 - there are no rows
        return nullcontext()

    def reread(self) -> None:
        """There is nothing to read."""

    def film(self, index: int, seed: int) -> Film:
        """What happens in example number `index`."""
        return make_film(self.split, index, RL_SEEDS + seed, self.duration_s)

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,  # noqa: ARG002 - a question has none
        frames_per_turn: int,  # noqa: ARG002
        shrink: Shrink | None = None,
    ) -> RetrievalExample:
        """Example number `index`."""
        film = self.film(index, seed)
        pool = draw_pool(film, self.num_frames, self.size_px)
        rng = np.random.default_rng((seed, index, 29))
        pictures = with_noise(
            list(pool.frames.pixels), float(rng.uniform(0, self.pixel_noise)), rng
        )
        if shrink is not None:
            pictures = [shrink(picture) for picture in pictures]
        frames = FrameBatch(np.stack(pictures), pool.frames.pts_s)
        pool = FramePool(frames, pool.duration_s)
        return RetrievalExample(film.task(self.num_frames), pool, self.look, index)
