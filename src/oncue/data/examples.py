"""What a policy practises on: a stretch of video to be watched, with what was shown and said before
it as context.

Rollouts over whole videos have too sparse a reward, so an example is a segment; all before it
is in the prompt with its gold replies, which are never trained but count as said (paper section
4.3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from oncue.clock import Clock
from oncue.data.dialogue_sources import with_noise
from oncue.data.world_draws import check_clips, draw_world
from oncue.dialogue.write import Placement, reply_turn, turn_reaching
from oncue.env.fixed_turns import FixedTurns
from oncue.errors import ConfigError
from oncue.render.base import ActionFormat
from oncue.types import (
    Action,
    EnvTurn,
    FrameBatch,
    GoldTurn,
    Question,
    Reply,
    Silence,
    Task,
    VideoEnv,
)
from oncue.video.pool_reader import Shrink
from oncue.world.clip import Clip, make_clip

# examples are clips that supervised training never draws, for seeds below 1,000 of both
RL_SEEDS = 1_000_003


@dataclass(frozen=True, slots=True)
class Opening:
    """How the session of an example is opened: arguments of `Policy.open`."""

    system: str | None = None
    action_format: ActionFormat | None = None
    last_turns: int | None = None


class Example(Protocol):
    """What a policy practises on: a task, and the world in which it is to be done.

    `history`: turns before it with the answers they got, context that is never trained. `index`:
    its number in its supply. `skipped`: what was wrong with the row of a file in whose place it is
    shown.
    """

    @property
    def task(self) -> Task: ...

    @property
    def history(self) -> Sequence[tuple[EnvTurn, Action]]: ...

    @property
    def index(self) -> int: ...

    @property
    def skipped(self) -> str: ...

    @property
    def opening(self) -> Opening: ...

    @property
    def longest_turns(self) -> Sequence[EnvTurn]:
        """Turns that an episode shows after the history: no episode takes more tokens."""
        ...

    def env(self) -> VideoEnv:
        """A new environment that shows the task."""
        ...

    def without_frames(self) -> Self:
        """The example without anything that is shown."""
        ...

    def instead_of(self, skipped: str) -> Self:
        """The example in the place of a row with which that is wrong ("": of none)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RolloutExample:
    """A segment to be watched. `history`: turns before it with the answers they got. `turns`: what
    is shown. `task` holds the replies due in the segment. All times are those of the video.
    `index`: its number in its supply. `skipped`: what was wrong with the line of a file in whose
    place it is shown."""

    task: Task
    history: tuple[tuple[EnvTurn, Action], ...]
    turns: tuple[EnvTurn, ...]
    index: int
    skipped: str = ""

    def env(self) -> VideoEnv:
        """A new environment that shows the segment."""
        return FixedTurns(self.turns)

    @property
    def opening(self) -> Opening:
        """That of a stream."""
        return Opening()

    @property
    def longest_turns(self) -> tuple[EnvTurn, ...]:
        """All that is shown: the clock decides that."""
        return self.turns

    def without_frames(self) -> RolloutExample:
        return replace(self, history=(), turns=())

    def instead_of(self, skipped: str) -> RolloutExample:
        return replace(self, skipped=skipped)

    @property
    def frames(self) -> list[np.ndarray]:
        """Every frame, those of the history first."""
        shown = [*(turn for turn, _ in self.history), *self.turns]
        return [pixels for turn in shown for pixels in turn.pictures]


class ExampleSource(Protocol):
    """A supply of examples, addressed by number, so that a resumed run reads on where it stopped.

    `has_exact_judge`: whether the exact judge knows what is due in them. `is_retrieval`: whether
    they are questions about videos, and no streams. `num_rows`: rows of an
    epoch, None for a supply that has none. `named`: what is wrong with an example inside the block
    names its row. `reread`: files are read once more when they are next needed.
    """

    @property
    def has_exact_judge(self) -> bool: ...

    @property
    def is_retrieval(self) -> bool: ...

    @property
    def num_rows(self) -> int | None: ...

    def named(self, index: int) -> AbstractContextManager[None]: ...

    def reread(self) -> None: ...

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,
    ) -> Example:
        """Example number `index`. `shrink` makes a picture as small as the model is shown it; a
        supply of many frames applies it as they are read."""
        ...


@dataclass(frozen=True, slots=True)
class WorldExamples:
    """An endless supply of segments of made-up clips. Settings as in `WorldSource`; both ranges are
    numbers of turns.

    `num_turns`: of the segment. `history_turns`: before it, answered with gold replies placed by
    `placement`.
    """

    worlds: dict[str, float] = field(default_factory=lambda: {"shapes": 1.0, "footage": 1.0})
    num_turns: tuple[int, int] = (20, 20)
    history_turns: tuple[int, int] = (0, 0)
    mean_gap_s: float | None = None
    empty_frac: float | None = None
    question_kinds: dict[str, float] | None = None
    pixel_noise: float = 0.0
    placement: Placement = Placement.SPREAD
    split: str = "train"

    def __post_init__(self) -> None:
        for name, smallest in (("num_turns", 1), ("history_turns", 0)):
            low, high = getattr(self, name)
            if not smallest <= low <= high:
                raise ConfigError(
                    f"{name} must be a smallest (>= {smallest}) and a largest number, got "
                    f"{(low, high)}"
                )
        check_clips(self)

    @property
    def has_exact_judge(self) -> bool:
        return True

    @property
    def is_retrieval(self) -> bool:
        return False

    @property
    def num_rows(self) -> int | None:
        return None

    def named(self, index: int) -> AbstractContextManager[None]:  # noqa: ARG002 - there are no rows
        return nullcontext()

    def reread(self) -> None:
        """There is nothing to read."""

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,
        frames_per_turn: int,
        shrink: Shrink | None = None,  # noqa: ARG002 - its frames are small
    ) -> RolloutExample:
        """Example number `index`."""
        rng = np.random.default_rng((seed, index, 11))
        world = draw_world(self.worlds, rng)
        num_before = int(rng.integers(self.history_turns[0], self.history_turns[1] + 1))
        num_turns = num_before + int(rng.integers(self.num_turns[0], self.num_turns[1] + 1))
        length_s = clock.time_of(num_turns * frames_per_turn)
        clip = make_clip(
            world,
            self.split,
            index,
            seed=RL_SEEDS + seed,
            duration_s=(length_s, length_s),
            mean_gap_s=self.mean_gap_s,
            empty_frac=self.empty_frac,
            question_kinds=self.question_kinds,
        )
        return self._example(clip, index, num_before, clock, frames_per_turn, rng)

    def _example(
        self,
        clip: Clip,
        index: int,
        num_before: int,
        clock: Clock,
        frames_per_turn: int,
        rng: np.random.Generator,
    ) -> RolloutExample:
        frames = with_noise(clip.grid_frames(clock), float(rng.uniform(0, self.pixel_noise)), rng)
        shown = shown_turns(frames, clip.task.questions, clock, frames_per_turn)
        placed = [
            (gold, reply_turn(gold.span, clock, frames_per_turn, len(frames), self.placement, rng))
            for gold in clip.task.gold
        ]
        return split_example(clip.task, shown, placed, num_before, index)


def split_example(
    task: Task,
    shown: Sequence[EnvTurn],
    placed: Sequence[tuple[GoldTurn, int | None]],
    num_before: int,
    index: int,
    num_left_out: int = 0,
) -> RolloutExample:
    """The example of a video whose first `num_before` turns are history, answered by the gold
    replies `placed` in them; the others are due. `shown` are all turns but the first
    `num_left_out`."""
    answers: dict[int, list[str]] = {}
    for gold, turn in placed:
        if turn is not None and turn < num_before:
            answers.setdefault(turn, []).append(gold.content)
    due = tuple(gold for gold, turn in placed if turn is None or turn >= num_before)
    history = tuple(
        (shown[i - num_left_out], Reply(" ".join(answers[i])) if i in answers else Silence())
        for i in range(num_left_out, num_before)
    )
    return RolloutExample(
        replace(task, gold=due), history, tuple(shown[num_before - num_left_out :]), index
    )


def shown_turns(
    frames: Sequence[np.ndarray],
    questions: Sequence[Question],
    clock: Clock,
    frames_per_turn: int,
    num_left_out: int = 0,
) -> list[EnvTurn]:
    """The turns that show grid frames (H, W, 3), each with the questions that have come due, as
    `StreamingEnv` does.

    The first frame is number `num_left_out`, the first of a turn; this turn also has the questions
    due before it.
    """
    num_frames, first_turn = num_left_out + len(frames), num_left_out // frames_per_turn
    texts: dict[int, list[str]] = {}
    for question in sorted(questions, key=lambda q: q.time_s):
        turn = turn_reaching(question.time_s, clock, frames_per_turn, num_frames)
        if turn is not None:
            texts.setdefault(max(turn, first_turn), []).append(question.text)
    turns = []
    for number, first in enumerate(
        range(num_left_out, num_frames, frames_per_turn), start=first_turn
    ):
        some = frames[first - num_left_out : first - num_left_out + frames_per_turn]
        pts_s = np.array([clock.time_of(first + i + 1) for i in range(len(some))])
        clock_s = clock.time_of(first + len(some))
        turns.append(
            EnvTurn(FrameBatch(np.stack(some), pts_s), clock_s, "\n".join(texts.get(number, ())))
        )
    return turns
