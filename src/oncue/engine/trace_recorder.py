"""Writes the trace of a session while its tokens are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from oncue.engine.encoder_cache import CachedFrame
from oncue.render.decision import DecisionFormat
from oncue.render.trace import TokenTrace, TraceSegment


@dataclass(frozen=True, slots=True)
class _Choice:
    """A token that was drawn: at which place of the segment, by which turn, with which
    log-probability."""

    place: int
    token_id: int
    logprob: float
    turn: int


@dataclass(slots=True, eq=False)
class TraceRecorder:
    """What a `SessionState` records of itself. Its caller knows the ids; here is what belongs to
    them.

    `positions`: those of the tokens that are in the cache, in stretches (3, n). `num_turns`: turns
    answered so far.
    """

    positions: list[np.ndarray] = field(default_factory=list)
    frames: list[CachedFrame] = field(default_factory=list)
    num_turns: int = 0
    _choices: list[_Choice] = field(default_factory=list)
    _segments: list[TraceSegment] = field(default_factory=list)

    def copy(self) -> TraceRecorder:
        """One that goes on from here by itself."""
        return TraceRecorder(
            list(self.positions),
            list(self.frames),
            self.num_turns,
            list(self._choices),
            list(self._segments),
        )

    def end_turn(
        self,
        place: int,
        frames: Sequence[CachedFrame],
        chosen: Sequence[int],
        logprobs: Sequence[float],
        decision: DecisionFormat,
    ) -> None:
        """A turn that showed `frames` was answered; its first choice was made at `place`.

        The first `len(logprobs)` of `chosen` were drawn: none of a replayed turn, all but the
        closing token of one that the token limit closed.
        """
        self.frames += frames
        for k, logprob in enumerate(logprobs):
            self._choices.append(_Choice(place, chosen[k], logprob, self.num_turns))
            place += len(decision.next_input(chosen[: k + 1]) or ())
        self.num_turns += 1

    def break_off(
        self,
        ids: Sequence[int],
        pending_positions: np.ndarray,
        num_kept: int,
        frames: Sequence[CachedFrame],
    ) -> None:
        """The prefix `ids` was cut. The first `num_kept` tokens are still in the cache; the new
        prefix has `frames`."""
        if self._choices:
            self._segments.append(self._segment(ids, pending_positions))
        kept = np.concatenate([np.zeros((3, 0), np.int64), *self.positions], axis=1)[:, :num_kept]
        self.positions, self.frames, self._choices = [kept], list(frames), []

    def trace(self, ids: Sequence[int], pending_positions: np.ndarray) -> TokenTrace:
        """The trace so far, whose last prefix is `ids`. `pending_positions` (3, n): of those not in
        the cache yet."""
        last = (
            [self._segment(ids, pending_positions)] if self._choices or not self._segments else []
        )
        return TokenTrace((*self._segments, *last))

    def _segment(self, ids: Sequence[int], pending_positions: np.ndarray) -> TraceSegment:
        token_ids = np.array(ids, np.int64)
        positions = np.concatenate([*self.positions, pending_positions], axis=1)
        # A last choice that has no token
        if self._choices and self._choices[-1].place == len(token_ids):
            token_ids = np.append(token_ids, self._choices[-1].token_id)
            positions = np.append(positions, positions.max(keepdims=True).repeat(3, 0) + 1, axis=1)
        targets, turn_of = token_ids.copy(), np.full(len(token_ids), -1, np.int64)
        logprobs = np.zeros(len(token_ids), np.float32)
        for choice in self._choices:
            targets[choice.place], turn_of[choice.place] = choice.token_id, choice.turn
            logprobs[choice.place] = choice.logprob
        patched = tuple(frame.patched for frame in self.frames if frame.patched is not None)
        return TraceSegment(token_ids, positions, targets, turn_of, logprobs, patched)
