"""Samples packed into one batch: without padding, and what several of them begin with only once.

Rollouts of a group are alike until they first say something different, so most of their tokens need
not be computed for each. Their gradient is the same: what a shared token owes to each sample adds
up in it.

Axis letters: T tokens of the batch, C trained choices, N patches of all frames, P values of a
patch, F frames to be encoded, S those of the T tokens that are parts of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from oncue.model.tree_attention import Branch
from oncue.render.base import PatchedFrame, grids_of
from oncue.render.trace import TraceSegment
from oncue.train.samples import TrainingSample


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Packed samples. Their tokens form a tree of `branches` (`model.tree_attention`), one branch
    behind the other.

    Trained choices are in the order of the samples: after which of the tokens each is made
    (`places_C`), what is to be chosen, and what it weighs. `shown_S`: which of the vision tokens of
    all encoded frames, in their order.
    """

    branches: tuple[Branch, ...]
    token_ids_T: torch.Tensor
    positions_3T: torch.Tensor
    places_C: torch.Tensor
    targets_C: torch.Tensor
    weights_C: torch.Tensor
    patches_NP: torch.Tensor
    grids_F3: torch.Tensor
    shown_S: torch.Tensor

    @property
    def num_tokens(self) -> int:
        """How many tokens are computed."""
        return len(self.token_ids_T)

    def to(self, device: torch.device) -> TrainingBatch:
        """The same batch on `device`, but for the grids, which are read on the CPU."""
        return TrainingBatch(
            self.branches,
            self.token_ids_T.to(device),
            self.positions_3T.to(device),
            self.places_C.to(device),
            self.targets_C.to(device),
            self.weights_C.to(device),
            self.patches_NP.to(device),
            self.grids_F3,
            self.shown_S.to(device),
        )


def collate(samples: Sequence[TrainingSample], image_pad_id: int) -> TrainingBatch:
    """Packs samples (at least one). Each frame is encoded once. Samples that begin with the very
    same frame share the tokens and frames they begin with. `image_pad_id` is the token of a part of
    a frame.

    Raises ValueError for a sample whose first token is trained, since it would be chosen after the
    end of another one, and for a segment whose frames do not account for its vision tokens.
    """
    if any(s.weights_L[0] for s in samples):
        raise ValueError(
            "nothing is chosen at the first place of a sample, so it cannot be trained"
        )
    segments = [sample.segment for sample in samples]
    frames = list({id(frame): frame for segment in segments for frame in segment.frames}.values())
    vision_L = _vision_numbers(segments, frames, image_pad_id)
    rows = [np.where(v < 0, s.token_ids, -1 - v) for s, v in zip(segments, vision_L, strict=True)]
    tree = _Tree(rows)
    for alike in _beginning_alike(segments):
        tree.grow(alike)
    chosen = [s.trained_C for s in samples]
    places = [tree.places(i)[at - 1] for i, at in enumerate(chosen)]
    taken = [(segments[i], slice(first, end)) for i, first, end in tree.stretches]
    shown = np.concatenate([vision_L[i][first:end] for i, first, end in tree.stretches])
    return TrainingBatch(
        tuple(tree.branches),
        torch.from_numpy(np.concatenate([s.token_ids[part] for s, part in taken])),
        torch.from_numpy(np.concatenate([s.positions[:, part] for s, part in taken], axis=1)),
        torch.from_numpy(np.concatenate(places)),
        torch.from_numpy(
            np.concatenate([s.target_ids[at] for s, at in zip(segments, chosen, strict=True)])
        ),
        torch.from_numpy(
            np.concatenate([s.weights_L[at] for s, at in zip(samples, chosen, strict=True)])
        ),
        torch.from_numpy(
            np.concatenate([f.patches for f in frames] or [np.zeros((0, 0), np.float32)])
        ),
        torch.from_numpy(grids_of(frames)),
        torch.from_numpy(shown[shown >= 0]),
    )


def _vision_numbers(
    segments: Sequence[TraceSegment], frames: Sequence[PatchedFrame], image_pad_id: int
) -> list[np.ndarray]:
    """Of each segment (L,): which of the vision tokens of all `frames`, in order, belongs to a
    place; -1: text."""
    is_vision = [segment.token_ids == image_pad_id for segment in segments]
    num_patches = np.array([math.prod(frame.grid) for frame in frames], np.int64)
    shown = sum(math.prod(frame.grid) for segment in segments for frame in segment.frames)
    # Patches that become one vision token
    per_token = shown // max(1, sum(int(v.sum()) for v in is_vision))
    sizes = num_patches // max(1, per_token)
    firsts = {
        id(frame): int(end - size)
        for frame, size, end in zip(frames, sizes, np.cumsum(sizes), strict=True)
    }
    numbers = []
    for segment, at in zip(segments, is_vision, strict=True):
        own = [
            firsts[id(f)] + np.arange(math.prod(f.grid) // max(1, per_token))
            for f in segment.frames
        ]
        of_frames = np.concatenate([np.zeros(0, np.int64), *own])
        if len(of_frames) != at.sum():
            raise ValueError(
                f"{at.sum()} vision tokens, but the frames of the segment make {len(of_frames)}"
            )
        row = np.full(len(at), -1, np.int64)
        row[at] = of_frames
        numbers.append(row)
    return numbers


def _beginning_alike(segments: Sequence[TraceSegment]) -> list[list[int]]:
    """Numbers of segments, those that begin with the very same frame together."""
    groups: dict[int, list[int]] = {}
    for i, segment in enumerate(segments):
        groups.setdefault(id(segment.frames[0] if segment.frames else segment), []).append(i)
    return list(groups.values())


Stretch = tuple[int, int, int]  # the tokens of a branch: of which sample, from where to where in it


@dataclass(slots=True, eq=False)
class _Tree:
    """The branches that samples are put together from, and the stretch of tokens that each holds.

    `rows`: of each sample (L,) what is at each place, equal where both token and picture are.
    """

    rows: Sequence[np.ndarray]
    branches: list[Branch] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)  # of each branch, among all tokens
    # Of each sample, from the root to its end
    _ways: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def grow(self, alike: Sequence[int], first: int = 0, before: tuple[int, ...] = ()) -> None:
        """Adds samples that agree in what comes before `first`."""
        num_branches = len(self.branches)
        rows = {i: self.rows[i] for i in alike}
        end = first + _num_alike([row[first:] for row in rows.values()])
        if end > first:
            self._starts.append(self._starts[-1] + self.branches[-1].length if self.branches else 0)
            self.branches.append(Branch(end - first, before))
            self.stretches.append((alike[0], first, end))
            before = (*before, num_branches)
        ways: dict[int, list[int]] = {}
        for i, row in rows.items():
            if len(row) == end:
                self._ways[i] = before
            else:
                ways.setdefault(int(row[end]), []).append(i)
        for way in ways.values():
            self.grow(way, end, before)

    def places(self, i: int) -> np.ndarray:
        """(L,) where each token of sample `i` is among all."""
        ranges = [
            np.arange(self._starts[n], self._starts[n] + self.branches[n].length)
            for n in self._ways[i]
        ]
        return np.concatenate(ranges)


def _num_alike(rows: Sequence[np.ndarray]) -> int:
    """How many ids these rows have in common at their beginning."""
    shortest = min(len(row) for row in rows)
    differs = np.zeros(shortest, bool)
    for row in rows[1:]:
        differs |= row[:shortest] != rows[0][:shortest]
    return int(differs.argmax()) if differs.any() else shortest
