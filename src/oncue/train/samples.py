"""What a dialogue is to training: token ids, positions, loss weights and image patches.

Axis letters: L tokens, N patches of all frames, P values of a patch, F frames, C trained choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncue.errors import DataError
from oncue.render.base import PatchedFrame
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Dialogue, DialogueTurn, Silence


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """One dialogue ready for the loss.

    `weights_L[i]` weighs the choice of `targets_L[i]` by the tokens before place i; 0 for what is not trained. The
    target is the token of that place, save for silence that no token stands for (`RenderedDialogue`). Nothing is chosen
    at the first place.
    """

    token_ids_L: np.ndarray
    targets_L: np.ndarray
    positions_3L: np.ndarray
    weights_L: np.ndarray
    patches_NP: np.ndarray
    grids_F3: np.ndarray

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
    """Renders a dialogue for the loss. Every trained choice of a silent turn weighs `silence_weight`, of a reply 1."""
    part = renderer.dialogue(dialogue, frames)
    positions, _ = mrope_positions(part.token_ids, part.grids, renderer.image_pad_id, renderer.merge_size, 0)
    of_turns = np.array([silence_weight if _is_silent(t, renderer) else 1.0 for t in dialogue.turns], np.float32)
    weights = np.where(part.loss_mask, of_turns[part.turn_of], np.float32(0))
    patches = np.concatenate([f.patches for f in part.frames]) if part.frames else np.zeros((0, 0), np.float32)
    return TrainingSample(part.token_ids, part.target_ids, positions, weights, patches, part.grids)


def _is_silent(turn: DialogueTurn, renderer: QwenVLRenderer) -> bool:
    return isinstance(renderer.format.read(turn.text), Silence)


def fit(dialogue: Dialogue, frames: Sequence[PatchedFrame], renderer: QwenVLRenderer, max_tokens: int) -> Dialogue:
    """The dialogue, cut after the last whole exchange that fits into `max_tokens`; raises DataError if none does.

    `frames` are those of the whole dialogue; the first `num_frames` of the result belong to it.
    """
    ends = [len(dialogue.turns)]
    ends += [i + 1 for i in reversed(range(ends[0] - 1)) if dialogue.turns[i].role == "assistant"]
    for end in ends:
        kept = replace(dialogue, turns=dialogue.turns[:end], trained=dialogue.trained[:end])
        if len(renderer.dialogue(kept, frames[: kept.num_frames])) <= max_tokens:
            return kept
    raise DataError(
        f"no exchange of dialogue {dialogue.dialogue_id!r} fits into max_tokens = {max_tokens}; "
        "allow more tokens, or show smaller frames (max_pixels)"
    )
