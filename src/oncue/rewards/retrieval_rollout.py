"""What the reward of retrieval sees of an episode: what was shown, what was done, what was asked
for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    Episode,
    Evidence,
    Exchange,
    Malformed,
    Retrieve,
    Task,
)

FramesOf = Callable[[Retrieve, Task], Collection[int]]
RetrievalAction = Retrieve | Answer | Malformed


@dataclass(frozen=True, slots=True)
class RetrievalTurn:
    """One turn: the frames that it showed, and what the policy did.

    `indices`: of the shown frames in their pool, in order; empty where they are not from the pool.
    `times_s`: video seconds of each shown frame. `asked`: the pool indices that a retrieval asked
    for, None for another action and where they are not known. `thought`: what was written before
    the action.
    """

    indices: tuple[int, ...]
    times_s: tuple[float, ...]
    action: RetrievalAction
    asked: tuple[int, ...] | None = None
    thought: str = ""

    def __post_init__(self) -> None:
        if self.indices and len(self.indices) != len(self.times_s):
            raise ValueError(
                f"{len(self.times_s)} frames need as many indices, or none, got {len(self.indices)}"
            )
        if self.asked is not None and not isinstance(self.action, Retrieve):
            raise ValueError(f"only a retrieval asks for frames, got {self.action}")


@dataclass(frozen=True, slots=True)
class RetrievalRollout:
    """An episode of retrieval without its pictures.

    `evidence` None: not known where the answer can be seen; `answer` None: the right answer is not
    known. Raises ValueError for a turn after an answer, and for evidence that the first frames
    cannot be compared with, because they have no pool indices.
    """

    question: str
    options: tuple[str, ...]
    answer: str | None
    evidence: Evidence | None
    duration_s: float | None
    turns: tuple[RetrievalTurn, ...]

    def __post_init__(self) -> None:
        for number, turn in enumerate(self.turns[:-1], 1):
            if isinstance(turn.action, Answer):
                raise ValueError(
                    f"an answer ends an episode, but turn {number} of {len(self.turns)} is one"
                )
        first = self.turns[0] if self.turns else None
        if first and self.evidence and len(first.indices) < len(first.times_s):
            raise ValueError(
                f"the {len(first.times_s)} frames of the first turn need their indices in the pool "
                "of the evidence, got none"
            )

    @classmethod
    def of(cls, episode: Episode, frames_of: FramesOf) -> RetrievalRollout:
        """The sampled turns of an episode.

        A retrieval asked for the pool frames that the next turn shows. Where there is no next turn,
        or its frames have no index, `frames_of(action, task)` says which ones: the rule of the
        environment. Without evidence nothing depends on them, and it is not called. Raises
        ValueError for an action that retrieval does not have.
        """
        task, sampled = episode.task, [e for e in episode.exchanges if e.acted.sampled]
        following = [*(e.observed for e in sampled), None][1:]
        turns = (
            _turn(exchange, shown, task, frames_of)
            for exchange, shown in zip(sampled, following, strict=True)
        )
        question = " ".join(question.text for question in task.questions)
        return cls(
            question, task.options, task.answer, task.evidence, task.duration_s, tuple(turns)
        )


def _turn(
    exchange: Exchange, following: EnvTurn | None, task: Task, frames_of: FramesOf
) -> RetrievalTurn:
    action, asked = _of_retrieval(exchange.acted.action), None
    if isinstance(action, Retrieve):
        asked = None if following is None else _indices(following)
        if asked is None and task.evidence is not None:
            asked = tuple(sorted(frames_of(action, task)))
    times_s = tuple(float(t) for batch in exchange.observed.batches for t in batch.pts_s)
    shown = _indices(exchange.observed) or ()
    return RetrievalTurn(shown, times_s, action, asked, exchange.acted.thought)


def _indices(shown: EnvTurn) -> tuple[int, ...] | None:
    """The pool indices of the frames of a turn; None where some have none."""
    batches: Sequence = shown.batches
    if any(len(batch.indices) != len(batch) for batch in batches):
        return None
    return tuple(index for batch in batches for index in batch.indices)


def _of_retrieval(action: Action) -> RetrievalAction:
    if not isinstance(action, Retrieve | Answer | Malformed):
        raise ValueError(
            f"expected a retrieval, an answer or a malformed turn, as in retrieval, got {action}"
        )
    return action
