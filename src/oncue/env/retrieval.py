"""The world that is asked for frames: the policy looks into a video until it answers (Video-MTR,
paper section 3.1, algorithm 1).

The first turn shows a few frames of the whole video, each later one the stretch that the policy
asked for. Every turn repeats the question and how to act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from oncue.errors import ConfigError
from oncue.render.options import LETTERS, labelled, option_texts
from oncue.render.retrieval_format import (
    ADVICE,
    MAX_ANSWER_CHARACTERS,
    RetrievalFormat,
    Thinking,
    Unit,
)
from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    FrameBatch,
    Malformed,
    Retrieve,
    StopReason,
    Task,
    TimeSpan,
)
from oncue.video.pool import FramePool, Zoom, frame_time_s, index_at, spread

Marks = Literal["frames", "seconds", "both"]  # what is written before each frame


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How a video may be looked into (paper sections 3.1 and 4.1, appendix A.2).

    `max_turns` counts answers of the model, the last one included. The first turn shows
    `first_frames` frames of the pool, a later one at most `frames_per_look`. A turn is answered
    with the last `last_turns` turns before it in view; None: with all. `unit`: what a range counts;
    `marks`: what is written before each frame. Raises ConfigError for what cannot be.
    """

    first_frames: int = 16
    frames_per_look: int = 8
    max_turns: int = 3
    last_turns: int | None = 2
    unit: Unit = "frames"
    marks: Marks = "frames"
    thinking: Thinking = "asked"
    max_answer_characters: int = MAX_ANSWER_CHARACTERS

    def __post_init__(self) -> None:
        if self.first_frames < 0 or self.frames_per_look < 1 or self.max_turns < 1:
            raise ConfigError(
                "expected at least 0 frames in the first turn, 1 frame in later ones, and 1 turn; "
                f"got first_frames={self.first_frames}, frames_per_look={self.frames_per_look}, "
                f"max_turns={self.max_turns}"
            )
        if self.last_turns is not None and self.last_turns < 0:
            raise ConfigError(f"last_turns must be at least 0, got {self.last_turns}")
        if self.marks not in get_args(Marks):
            raise ConfigError(f"marks are frames, seconds or both, got {self.marks!r}")
        if self.marks not in (self.unit, "both"):
            raise ConfigError(
                f"the policy asks by {self.unit}, so frames must be marked by {self.unit} or both, "
                f"got {self.marks}"
            )

    @classmethod
    def for_budget(cls, num_frames: int, max_turns: int = 3) -> RetrievalSettings:
        """The settings for a budget of frames: half of it in the first turn, a quarter in each
        later one (paper section 4.1: 32, 64 or 80 frames, 3 turns).

        Raises ConfigError for a budget below 4.
        """
        if num_frames < 4:
            raise ConfigError(f"a budget of frames must be at least 4, got {num_frames}")
        return cls(num_frames // 2, num_frames // 4, max_turns)

    def frames_of(self, action: Retrieve, num_frames: int, duration_s: float) -> list[int]:
        """The frames of a pool that `action` asks to see, a range within the video: evenly spread
        over it, at most `frames_per_look`."""
        first, last = int(action.start), int(action.end)
        if self.unit == "seconds":
            first, last = (index_at(t, num_frames, duration_s) for t in (action.start, action.end))
        return spread(first, last, self.frames_per_look)


def asked_span(action: Retrieve, unit: Unit, num_frames: int, duration_s: float) -> TimeSpan:
    """The stretch of video, in seconds, that `action` asks for in a pool of `num_frames`: a frame
    number is for its whole part of the video."""
    if unit == "seconds":
        return TimeSpan(action.start, action.end)
    part_s = duration_s / num_frames
    return TimeSpan(action.start * part_s, (action.end + 1) * part_s)


def lettered(options: Sequence[str]) -> tuple[str, ...]:
    """The options as `A. ...`, `B. ...`, in order, whether all of them state these letters already
    (`A. red`, `(B) blue`) or not.

    Raises ConfigError for more options than letters.
    """
    if len(options) > len(LETTERS):
        raise ConfigError(f"a question has at most {len(LETTERS)} options, got {len(options)}")
    return labelled(option_texts(options))


def system_message(settings: RetrievalSettings) -> str:
    """Who the policy is, and how many turns it has."""
    task = "You are a helpful assistant who answers questions about videos."
    if settings.max_turns == 1:
        return f"{task} You see some frames of the video and answer in one turn."
    return (
        f"{task} You do not see the whole video, only some of its frames. In each turn you may "
        f"ask for up to {settings.frames_per_look} more frames, or answer. Your answer must come "
        f"within {settings.max_turns} turns."
    )


class RetrievalEnv:
    """A VideoEnv over the pool of one video and the question of `task`.

    Invalid turns are used up, too: the next turn says what was wrong. It stops with ANSWERED, or
    OUT_OF_BUDGET where the last turn brings no answer; that turn offers nothing but the answer.
    `zoom` shows a stretch that was asked for more finely than the pool does, in `frames_per_look`
    frames, or one where the stretch is a single moment (not in the paper). Raises ConfigError for
    more options than letters, and for `zoom` without marks in seconds.
    """

    def __init__(
        self,
        pool: FramePool,
        task: Task,
        settings: RetrievalSettings | None = None,
        zoom: Zoom | None = None,
    ) -> None:
        self.settings = settings or RetrievalSettings()
        self.pool = pool
        if zoom is not None and self.settings.marks == "frames":
            raise ConfigError(
                "frames between those of the pool have no number; mark them by seconds or both to "
                "zoom"
            )
        self._question = " ".join(question.text for question in task.questions)
        self._options = lettered(task.options)
        self._zoom = zoom
        self._num_turns = 0
        is_frames = self.settings.unit == "frames"
        self.format = RetrievalFormat(
            len(pool) - 1 if is_frames else pool.duration_s,
            self.settings.unit,
            LETTERS[: len(task.options)],
            self.settings.thinking,
            self.settings.max_answer_characters,
        )

    @property
    def system(self) -> str:
        """The system message that a session is to be opened with."""
        return system_message(self.settings)

    async def open(self) -> EnvTurn | StopReason:
        """The first frames, evenly spread over the pool, and the question. It begins an episode:
        nothing of an earlier one counts."""
        self._num_turns = 0
        if not self.settings.first_frames:
            return self._turn("No frame of the video is shown.", FrameBatch.empty())
        return self.opened_with(spread(0, len(self.pool) - 1, self.settings.first_frames))

    def opened_with(self, indices: Sequence[int]) -> EnvTurn:
        """The first turn with other frames than evenly spread ones: for training data. It begins an
        episode."""
        self._num_turns = 0
        frames = self.pool.take(indices, self._marks(indices))
        return self._turn(f"{_counted(frames)} of the whole video: {self._listed(frames)}", frames)

    async def step(self, action: Action) -> EnvTurn | StopReason:
        """The frames that were asked for, or what was wrong."""
        if isinstance(action, Answer):
            return StopReason.ANSWERED
        if self._num_turns == self.settings.max_turns:
            return StopReason.OUT_OF_BUDGET
        why = self._why_not(action)
        if isinstance(action, Retrieve) and not why:
            frames = await self._look(action)
            return self._turn(f"{_counted(frames)} you asked for: {self._listed(frames)}", frames)
        return self._turn(f"Your last turn was not valid: {why}. Try again.", FrameBatch.empty())

    def _why_not(self, action: Action) -> str:
        """What is wrong with `action`, as the policy is to read it; "" for a range within the
        video."""
        if isinstance(action, Retrieve):
            return self.format.why_not(action.start, action.end)
        if isinstance(action, Malformed):
            return action.reason.removesuffix(ADVICE)
        return "it is neither a range nor an answer"

    async def _look(self, action: Retrieve) -> FrameBatch:
        num_frames, duration_s = len(self.pool), self.pool.duration_s
        if self._zoom is None:
            indices = self.settings.frames_of(action, num_frames, duration_s)
            return self.pool.take(indices, self._marks(indices))
        span = asked_span(action, self.settings.unit, num_frames, duration_s)
        start_s, end_s = span.start_s, span.end_s
        num_asked = self.settings.frames_per_look if start_s < end_s else 1
        found = await asyncio.to_thread(self._zoom, start_s, end_s, num_asked)
        times_s = [
            start_s + frame_time_s(i, len(found), end_s - start_s) for i in range(len(found))
        ]
        indices = [index_at(time_s, num_frames, duration_s) for time_s in times_s]
        marks = [self._mark(i, time_s) for i, time_s in zip(indices, times_s, strict=True)]
        return FrameBatch(found.pixels, found.pts_s, tuple(marks), tuple(indices))

    def _turn(self, shown: str, frames: FrameBatch) -> EnvTurn:
        self._num_turns += 1
        number, most = self._num_turns, self.settings.max_turns
        is_last = number == most
        asked = "\n".join((f"Question: {self._question}", *self._options))
        limit = "This is your last turn: you cannot see more frames. " if is_last else ""
        how = self.format.answer_instruction if is_last else self.format.instruction
        return EnvTurn(
            [f"Turn {number} of {most}. {shown}\n", frames, f"{asked}\n{limit}{how}"],
            self.pool.duration_s,
        )

    def _marks(self, indices: Sequence[int]) -> list[str]:
        return [self._mark(i, self.pool.time_of(i)) for i in indices]

    def _mark(self, index: int, time_s: float) -> str:
        by_seconds = f"{time_s:.1f} s"
        if self.settings.marks == "seconds":
            return by_seconds
        return f"frame {index}" + (f", {by_seconds}" if self.settings.marks == "both" else "")

    def _listed(self, frames: FrameBatch) -> str:
        """The frames as the policy may name them, so that it knows what it has seen."""
        if self.settings.unit == "frames":
            return str(list(frames.indices))
        return f"[{', '.join(mark.rpartition(', ')[2] for mark in frames.marks)}]"


def _counted(frames: FrameBatch) -> str:
    return "1 frame" if len(frames) == 1 else f"{len(frames)} frames"
