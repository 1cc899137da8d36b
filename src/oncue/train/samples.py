"""What a training step reads: token ids, positions, loss weights and image patches; and how they become tensors.

Axis letters: B samples, L tokens of the longest sample, N patches of all frames, C values of a patch, F frames to be
encoded, S frames shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from oncue.errors import DataError
from oncue.render.base import PatchedFrame
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Dialogue, DialogueTurn, Silence


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """One dialogue ready for the loss.

    `weights_L[i]` weighs the choice of `targets_L[i]` by the tokens before place i; 0 for what is not trained. The
    target is the token of that place, save for silence that no token stands for (`RenderedDialogue`).
    """

    token_ids_L: np.ndarray
    targets_L: np.ndarray
    positions_3L: np.ndarray
    weights_L: np.ndarray
    patches_NC: np.ndarray
    grids_F3: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Right-padded samples. Causal attention never looks to the right, so padding needs no mask.

    Samples that show the same frames (rollouts of a group) have them encoded once: `shown_S` says for each frame shown,
    in reading order, which of the F encoded ones it is.
    """

    token_ids_BL: torch.Tensor
    targets_BL: torch.Tensor
    positions_3BL: torch.Tensor
    weights_BL: torch.Tensor
    patches_NC: torch.Tensor
    grids_F3: torch.Tensor
    shown_S: torch.Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens, padding included."""
        return self.token_ids_BL.numel()

    def to(self, device: torch.device) -> TrainingBatch:
        """The same batch on `device`, but for the grids, which are read on the CPU."""
        return TrainingBatch(
            self.token_ids_BL.to(device),
            self.targets_BL.to(device),
            self.positions_3BL.to(device),
            self.weights_BL.to(device),
            self.patches_NC.to(device),
            self.grids_F3,
            self.shown_S.to(device),
        )


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


def collate(samples: Sequence[TrainingSample], pad_id: int) -> TrainingBatch:
    """Stacks samples (at least one), padded on the right with `pad_id` to the longest.

    Samples with the very same `patches_NC` share its frames.
    """
    size, longest = len(samples), max(len(s.token_ids_L) for s in samples)
    ids = np.full((size, longest), pad_id, np.int64)
    targets = np.full((size, longest), pad_id, np.int64)
    positions = np.zeros((3, size, longest), np.int64)
    weights = np.zeros((size, longest), np.float32)
    for row, sample in enumerate(samples):
        length = len(sample.token_ids_L)
        ids[row, :length] = sample.token_ids_L
        targets[row, :length] = sample.targets_L
        positions[:, row, :length] = sample.positions_3L
        weights[row, :length] = sample.weights_L
    with_frames = [s for s in samples if len(s.grids_F3)]
    distinct = list({id(s.patches_NC): s for s in with_frames}.values())
    ends = np.cumsum([len(s.grids_F3) for s in distinct])
    numbers = {id(s.patches_NC): np.arange(end - len(s.grids_F3), end) for s, end in zip(distinct, ends, strict=True)}
    shown = [numbers[id(s.patches_NC)] for s in with_frames]
    return TrainingBatch(
        torch.from_numpy(ids),
        torch.from_numpy(targets),
        torch.from_numpy(positions),
        torch.from_numpy(weights),
        torch.from_numpy(np.concatenate([s.patches_NC for s in distinct] or [np.zeros((0, 0), np.float32)])),
        torch.from_numpy(np.concatenate([s.grids_F3 for s in distinct] or [np.zeros((0, 3), np.int64)])),
        torch.from_numpy(np.concatenate(shown or [np.zeros(0, np.int64)])),
    )


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
