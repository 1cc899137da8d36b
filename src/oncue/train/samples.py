"""A segment of a trace ready for the loss, and written dialogues that fit into a number of tokens.

Axis letters: L tokens, C trained choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncue.errors import DataError
from oncue.render.base import PatchedFrame
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.trace import TraceSegment
from oncue.types import Dialogue, DialogueTurn, Silence


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """A segment of a trace. `weights_L[i]` weighs the choice at place i in the loss; 0 for what is
    not trained."""

    segment: TraceSegment
    weights_L: np.ndarray

    @property
    def trained_C(self) -> np.ndarray:
        """The places (C,) of the trained choices, in order."""
        return np.flatnonzero(self.weights_L)


def to_sample(
    dialogue: Dialogue,
    frames: Sequence[np.ndarray | PatchedFrame],
    renderer: QwenVLRenderer,
    *,
    silence_weight: float = 1.0,
) -> TrainingSample:
    """Renders a dialogue for the loss. Every trained choice of a silent turn weighs
    `silence_weight`, of a reply 1."""
    segment = renderer.dialogue(dialogue, frames).whole
    of_turns = np.array(
        [silence_weight if _is_silent(t, renderer) else 1.0 for t in dialogue.turns], np.float32
    )
    weights = np.where(segment.loss_mask, of_turns[segment.turn_of], np.float32(0))
    return TrainingSample(segment, weights)


def _is_silent(turn: DialogueTurn, renderer: QwenVLRenderer) -> bool:
    return isinstance(renderer.format.read(turn.text), Silence)


def fit(
    dialogue: Dialogue, frames: Sequence[PatchedFrame], renderer: QwenVLRenderer, max_tokens: int
) -> Dialogue:
    """The dialogue, cut after the last whole exchange that fits into `max_tokens`; raises DataError
    if none does.

    `frames` are those of the whole dialogue; the first `num_frames` of the result belong to it.
    """
    ends = [len(dialogue.turns)]
    ends += [i + 1 for i in reversed(range(ends[0] - 1)) if dialogue.turns[i].role == "assistant"]
    for end in ends:
        kept = replace(dialogue, turns=dialogue.turns[:end], trained=dialogue.trained[:end])
        if len(renderer.dialogue(kept, frames[: kept.num_frames]).whole) <= max_tokens:
            return kept
    raise DataError(
        f"no exchange of dialogue {dialogue.dialogue_id!r} fits into max_tokens = {max_tokens}; "
        "allow more tokens, or show smaller frames (max_pixels)"
    )
