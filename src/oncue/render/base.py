"""What rendering hands on: token ids with their loss mask and the patches of their frames, and the two roles behind it.

Axis letters: L tokens, P patches of one frame, C values of one patch, N frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oncue.render.decision import DecisionFormat, Lead
from oncue.types import Action, EnvTurn

Grid = tuple[int, int, int]  # of a frame: 1, patch rows, patch columns


@dataclass(frozen=True, slots=True, eq=False)
class PatchedFrame:
    """One frame as the vision encoder takes it: `patches` (P, C) float32, `grid` = (1, patch rows, patch columns)."""

    patches: np.ndarray
    grid: Grid


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPart:
    """A stretch of the token stream: `token_ids` (L,) int64, `loss_mask` (L,) bool, and its frames in order."""

    token_ids: np.ndarray
    loss_mask: np.ndarray
    frames: tuple[PatchedFrame, ...] = ()

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def grids(self) -> np.ndarray:
        """The grids of the frames, (N, 3) int64."""
        return grids_of(self.frames)

    @classmethod
    def join(cls, parts: Iterable[RenderedPart]) -> RenderedPart:
        """The parts one after the other."""
        kept = tuple(parts)
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(p.token_ids for p in kept)]),
            np.concatenate([np.zeros(0, bool), *(p.loss_mask for p in kept)]),
            tuple(frame for p in kept for frame in p.frames),
        )


def grids_of(frames: Iterable[PatchedFrame]) -> np.ndarray:
    """(N, 3) int64."""
    return np.array([f.grid for f in frames], np.int64).reshape(-1, 3)


class ActionFormat(Protocol):
    """A grammar of actions: the one place that writes them as text and reads them back."""

    @property
    def silence_text(self) -> str: ...

    def write(self, action: Action) -> str: ...

    def read(self, text: str, truncated: bool = False) -> Action: ...


class Renderer(Protocol):
    """Turns into tokens and sampled tokens into actions. Every turn is rendered once and only ever appended."""

    format: ActionFormat
    decision: DecisionFormat

    def system_block(self, text: str) -> RenderedPart: ...

    def user_turn(self, turn: EnvTurn, lead: Lead) -> RenderedPart: ...

    def policy_turn_ids(self, action: Action) -> tuple[int, ...]: ...

    def read_action(self, token_ids: Iterable[int], truncated: bool) -> Action: ...
