"""What rendering hands on: token ids with their loss mask and the patches of their frames, the
shape of a turn, and the two roles behind it.

Axis letters: L tokens, P patches of one frame, C values of one patch, N frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from oncue.render.decision import DecisionFormat, Lead
from oncue.types import Action, DialogueTurn, EnvTurn

Grid = tuple[int, int, int]  # of a frame: 1, patch rows, patch columns


@dataclass(frozen=True, slots=True, eq=False)
class PatchedFrame:
    """One frame as the vision encoder takes it: `patches` (P, C) float32, `grid` = (1, patch rows,
    patch columns)."""

    patches: np.ndarray
    grid: Grid


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPart:
    """A stretch of the token stream: `token_ids` (L,) int64, `loss_mask` (L,) bool, and its frames
    in order."""

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


@dataclass(frozen=True, slots=True)
class FrameSlot:
    """Where a turn shows a frame; `mark` names it, "" for none."""

    mark: str = ""


Shape = tuple[str | FrameSlot, ...]  # of a turn: its text and the places of its frames, in order


def shape_of(turn: EnvTurn) -> Shape:
    """What a turn shows, in order, without the pictures."""
    shape: list[str | FrameSlot] = []
    for part in turn.content:
        shape += (
            [part] if isinstance(part, str) else map(FrameSlot, part.marks or ("",) * len(part))
        )
    return tuple(shape)


def frames_then_text(num_frames: int, text: str) -> Shape:
    """The shape of a turn of a stream."""
    return (*(FrameSlot(),) * num_frames, *((text,) if text else ()))


def shape_of_written(turn: DialogueTurn) -> Shape:
    """What a written message shows, in order."""
    lead, text = ((part,) if part else () for part in (turn.lead, turn.text))
    return (*lead, *map(FrameSlot, turn.marks or ("",) * turn.num_frames), *text)


class ActionFormat(Protocol):
    """A grammar of actions: the one place that states it, writes actions as text and reads them
    back.

    A session speaks `TextFormat` unless it is opened with another one. `instruction` says to the
    policy how it writes its actions; what it shows as an example, `read` takes. `silence_text`
    None: silence is no action of this grammar. `write` raises ValueError for an action that the
    grammar does not have. Law: `read(write(a)) == a`.
    """

    @property
    def silence_text(self) -> str | None: ...

    @property
    def instruction(self) -> str: ...

    def write(self, action: Action) -> str: ...

    def read(self, text: str, truncated: bool = False) -> Action: ...


class Renderer(Protocol):
    """Turns into tokens and sampled tokens into actions. Every turn is rendered once and only ever
    appended."""

    decision: DecisionFormat

    @property
    def format(self) -> ActionFormat: ...

    def system_block(self, text: str) -> RenderedPart: ...

    def user_turn(self, turn: EnvTurn, lead: Lead) -> RenderedPart: ...

    def policy_turn_ids(
        self, action: Action, action_format: ActionFormat | None = None
    ) -> tuple[int, ...]: ...

    def read_action(
        self, token_ids: Iterable[int], truncated: bool, action_format: ActionFormat | None = None
    ) -> Action: ...
