"""Examples of retrieval: a question about a video, and the pool of frames that it may be looked for
in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.examples import Opening
from oncue.data.retrieval_rows import RetrievalRow, row_lines
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import ConfigError, DataError, InputError
from oncue.types import Action, EnvTurn, FrameBatch, Retrieve, StopReason, Task, VideoEnv
from oncue.video.pool import FramePool
from oncue.video.pool_reader import Shrink, read_pool
from oncue.video.probe import probe


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalExample:
    """A question about a video. `index`, `skipped`: as of `Example`. `video`: where its file is, ""
    where it has none."""

    task: Task
    pool: FramePool
    settings: RetrievalSettings
    index: int
    skipped: str = ""
    video: str = ""

    @property
    def history(self) -> tuple[tuple[EnvTurn, Action], ...]:
        """None: an episode begins with the question."""
        return ()

    @property
    def opening(self) -> Opening:
        env = self._env()
        return Opening(env.system, env.format, self.settings.last_turns)

    @property
    def longest_turns(self) -> tuple[EnvTurn, ...]:
        """Those of an episode that looks at the last frames in every turn: what is written of them
        is longest."""
        return completed(_looking(self._env()))

    @property
    def noted(self) -> Mapping[str, Any]:
        """What `oncue view` needs to show the frames."""
        video = {"video": self.video} if self.video else {}
        return {**video, "unit": self.settings.unit, "pool_frames": len(self.pool)}

    def env(self) -> VideoEnv:
        """A new environment that lets a policy look into the pool."""
        return self._env()

    def _env(self) -> RetrievalEnv:
        return RetrievalEnv(self.pool, self.task, self.settings)

    def without_frames(self) -> RetrievalExample:
        frames = self.pool.frames
        hollow = FrameBatch(frames.pixels[:, :0, :0], frames.pts_s)
        return replace(self, pool=FramePool(hollow, self.pool.duration_s))

    def instead_of(self, skipped: str) -> RetrievalExample:
        return replace(self, skipped=skipped)


async def _looking(env: RetrievalEnv) -> tuple[EnvTurn, ...]:
    last = len(env.pool) - 1
    first = max(0, last + 1 - env.settings.frames_per_look)
    look = Retrieve(first, last)
    if env.settings.unit == "seconds":
        look = Retrieve(env.pool.time_of(first), env.pool.duration_s)
    turns, shown = [], await env.open()
    while not isinstance(shown, StopReason):
        turns.append(shown)
        shown = await env.step(look)
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class RetrievalRows:
    """The questions of files of rows (see `oncue.data.retrieval_rows`), in their order, again and
    again.

    `videos`: the folder that their paths lie in. `num_frames`: of the pool of each video (paper:
    128; the released code: 64). `look`: how it may be looked into.
    """

    paths: tuple[Path, ...]
    videos: Path = Path()
    num_frames: int = 128
    look: RetrievalSettings = field(default_factory=RetrievalSettings)

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, got {self.num_frames}")

    def __len__(self) -> int:
        return len(self.lines())

    def lines(self) -> tuple[RetrievalRow | DataError, ...]:
        """Every row, or what is wrong with one that breaks the format. Raises DataError for files
        without any."""
        return _lines(self.paths)

    def checks(self) -> Iterator[partial[None]]:
        """A call for every row, which raises DataError for one that cannot be used. The head of its
        video is read."""
        return (partial(_check, line, self) for line in self.lines())

    @property
    def has_exact_judge(self) -> bool:
        return False

    @property
    def is_retrieval(self) -> bool:
        return True

    @property
    def num_rows(self) -> int | None:
        return len(self)

    def reread(self) -> None:
        """Read the files once more when they are next needed."""
        _lines.cache_clear()

    @contextmanager
    def named(self, index: int) -> Iterator[None]:
        """What is wrong with example number `index` is a DataError that begins with its row."""
        line = self.lines()[index % len(self)]
        try:
            yield
        except DataError:
            raise
        except InputError as error:
            name = "" if isinstance(line, DataError) else f"row {line.row_id!r}: "
            raise DataError(f"{name}{error}") from error

    def item(
        self,
        index: int,
        seed: int,  # noqa: ARG002 - rows come in order
        clock: Clock,  # noqa: ARG002 - a question has none
        frames_per_turn: int,  # noqa: ARG002
        shrink: Shrink | None = None,
    ) -> RetrievalExample:
        """Example number `index`. `shrink` is applied to each frame as it is read, so that memory
        is that of the frames as they are used. Raises DataError for a row that breaks the format, a
        video that is missing or cannot be read, and evidence that nobody can place."""
        line = self.lines()[index % len(self)]
        if isinstance(line, DataError):
            raise line
        with self.named(index):
            video = line.video_in(self.videos)
            pool = read_pool(video, self.num_frames, shrink=shrink)
            task = line.task(len(pool), pool.duration_s)
        return RetrievalExample(task, pool, self.look, index, video=str(video.resolve()))


def _check(line: RetrievalRow | DataError, rows: RetrievalRows) -> None:
    if isinstance(line, DataError):
        raise line
    try:
        info = probe(line.video_in(rows.videos))
        line.task(rows.num_frames, info.duration_s or line.duration_s)
    except DataError:
        raise
    except InputError as error:
        raise DataError(f"row {line.row_id!r}: {error}") from error


@lru_cache(maxsize=4)
def _lines(paths: tuple[Path, ...]) -> tuple[RetrievalRow | DataError, ...]:
    return tuple(line for path in paths for line in row_lines(path))
