"""Asks one policy many questions, each about a video of its own: by retrieval, or in a single
turn."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oncue.ask.line_questions import LineQuestion, answer_values
from oncue.dialogue.pictures import load_picture
from oncue.env.fixed_turns import FixedTurns
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import DataError
from oncue.eval.benchmarks.mcq_pools import Pools
from oncue.eval.benchmarks.mcq_result import Mode
from oncue.eval.resuming import seed_of
from oncue.policy.open_policy import Policy
from oncue.render.actions import AnswerFormat
from oncue.render.base import ActionFormat
from oncue.render.markup import DEFAULT_SYSTEM
from oncue.rollout import run_episode
from oncue.types import EnvTurn, FrameBatch, PolicySession, VideoEnv
from oncue.video.pool import FramePool, spread
from oncue.video.pool_reader import Shrink, read_pool


@dataclass(frozen=True, slots=True)
class Manner:
    """How questions are asked: of a pool of `num_frames` frames by `retrieval`, or, where that is
    None, in one turn that shows all of them."""

    num_frames: int
    retrieval: RetrievalSettings | None = None


class LineAsker:
    """Asks `policy`. `shrink` as of `read_pool`; `seed` and the id of a question seed its
    session."""

    def __init__(
        self,
        policy: Policy[PolicySession],
        manner: Manner,
        *,
        shrink: Shrink | None = None,
        seed: int = 0,
    ) -> None:
        self._policy, self._manner = policy, manner
        self._shrink, self._seed = shrink, seed
        self._pools = Pools(self._read)

    async def ask(self, asked: LineQuestion) -> dict[str, object]:
        """The line that answers. Raises InputError for what cannot be looked at or asked, and as
        the policy."""
        self._pools.expect(asked.source)
        try:
            pool = await self._pools.take(asked.source)
            return await self._asked(asked, pool)
        finally:
            self._pools.give_back(asked.source)

    async def _asked(self, asked: LineQuestion, pool: FramePool) -> dict[str, object]:
        task, settings = asked.task(), self._manner.retrieval
        env: VideoEnv
        mode: Mode
        action_format: ActionFormat
        if settings is not None:
            env = looking = RetrievalEnv(pool, task, settings)
            mode, system, action_format = "retrieval", looking.system, looking.format
            last_turns = settings.last_turns
        else:
            action_format = AnswerFormat(bool(asked.options))
            env = FixedTurns([single_turn(asked, pool, action_format.instruction)])
            mode, system, last_turns = "single-turn", DEFAULT_SYSTEM, None
        session = self._policy.open(
            task,
            system=system,
            seed=seed_of(self._seed, mode, task.task_id),
            action_format=action_format,
            last_turns=last_turns,
        )
        with closing(session):
            episode = await run_episode(env, session, task, keep_frames=False)
        return answer_values(asked.line_id, episode)

    def _read(self, source: str | tuple[Path, ...]) -> FramePool:
        if isinstance(source, str):
            return read_pool(source, self._manner.num_frames, shrink=self._shrink)
        return pool_of_images(source, self._manner.num_frames, self._shrink)


def single_turn(asked: LineQuestion, pool: FramePool, instruction: str) -> EnvTurn:
    """All frames of `pool`, then the prompt of the question; without one its words and options, and
    `instruction`."""
    text = asked.prompt or "\n".join((asked.question, *asked.options, instruction))
    return EnvTurn([pool.frames, text], pool.duration_s)


def pool_of_images(
    paths: tuple[Path, ...], num_frames: int, shrink: Shrink | None = None
) -> FramePool:
    """A pool of at most `num_frames` of these pictures, evenly spread, as if each were a second of
    a video.

    Raises DataError for a file that is no picture, and for pictures of different sizes.
    """
    chosen = [paths[index] for index in spread(0, len(paths) - 1, num_frames)]
    pictures = [load_picture(path) for path in chosen]
    for path, picture in zip(chosen, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            (height, width), (first_height, first_width) = picture.shape[:2], pictures[0].shape[:2]
            raise DataError(
                f"the images of a question must have one size, as frames of a video have; {path} "
                f"is {width}x{height}, {chosen[0]} is {first_width}x{first_height}"
            )
    pixels = np.stack([shrink(picture) if shrink else picture for picture in pictures])
    return FramePool(FrameBatch(pixels, np.arange(len(pixels), dtype=np.float64)), len(pixels))
