"""Tokens that a policy saw and chose. Written once, where tokens are made; whoever trains only
reads it.

Axis letters: L tokens of a segment, N frames, P patches of one frame, C values of one patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oncue.render.base import PatchedFrame, grids_of


@dataclass(frozen=True, slots=True, eq=False)
class TraceSegment:
    """A prefix as the policy saw it, and what it chose in it.

    `token_ids` (L,) int64 with their M-RoPE `positions` (3, L) and the `frames` among them, in
    order. `target_ids` (L,) int64: what is chosen at each place, by the tokens before it. It is the
    token of that place, save where silence by token is followed by something other than a frame.
    `turn_of` (L,) int64: the turn whose choice a place is, -1 for context: of a written dialogue
    the number of its turn, of an episode that of its exchange. `logprobs` (L,) float32: the
    natural-log probability that the sampler gave each choice; 0 where nothing was sampled.
    """

    token_ids: np.ndarray
    positions: np.ndarray
    target_ids: np.ndarray
    turn_of: np.ndarray
    logprobs: np.ndarray
    frames: tuple[PatchedFrame, ...] = ()

    def __post_init__(self) -> None:
        num_tokens = len(self.token_ids)
        shapes = [x.shape for x in (self.target_ids, self.turn_of, self.logprobs)]
        if self.positions.shape != (3, num_tokens) or any(s != (num_tokens,) for s in shapes):
            raise ValueError(
                f"a segment of {num_tokens} tokens, but {self.positions.shape} positions and "
                f"{shapes}"
            )
        if num_tokens and self.turn_of[0] >= 0:
            raise ValueError(
                "nothing is chosen at the first place of a segment, so it cannot be trained"
            )

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def loss_mask(self) -> np.ndarray:
        """(L,) bool: the places whose choice may be trained."""
        return self.turn_of >= 0

    @property
    def grids(self) -> np.ndarray:
        """The grids of the frames, (N, 3) int64."""
        return grids_of(self.frames)


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """One dialogue, written or sampled, as segments: where its prefix broke (a window was cut), a
    new one begins.

    Each choice is in one segment, the one it was made in.
    """

    segments: tuple[TraceSegment, ...]

    @property
    def whole(self) -> TraceSegment:
        """The segment of a trace whose prefix never broke. Raises ValueError for another."""
        if len(self.segments) != 1:
            raise ValueError(f"expected a trace of one segment, got {len(self.segments)}")
        return self.segments[0]
