"""Samples packed into one batch: without padding, and what several of them begin with only once.

Rollouts of a group are alike until they first say something different, so most of their tokens need not be computed for
each. Their gradient is the same: what a shared token owes to each sample adds up in it.

Axis letters: T tokens of the batch, C trained choices, N patches of all frames, P values of a patch, F frames to be
encoded, S those of the T tokens that stand for a part of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from oncue.model.tree_attention import Branch
from oncue.train.samples import TrainingSample


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Packed samples. Their tokens form a tree of `branches` (`model.tree_attention`), one branch behind the other.

    Trained choices are in the order of the samples: after which of the tokens each is made (`places_C`), what is to be
    chosen, and what it weighs. `shown_S`: which of the vision tokens of all encoded frames, in their order.
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
    """Packs samples (at least one). Those with the very same `patches_NP` have these encoded once, and share the tokens
    they begin with. `image_pad_id` stands for a part of a frame.

    Raises ValueError for a sample whose first token is trained, since it would be chosen after the end of another one,
    and for samples with the same patches that do not all show as many frames: which they show could not be told.
    """
    if any(s.weights_L[0] for s in samples):
        raise ValueError("nothing is chosen at the first place of a sample, so it cannot be trained")
    tree = _Tree(samples)
    shown, distinct, num_encoded = [], [], 0
    for alike in _showing_the_same(samples):
        is_vision = {i: samples[i].token_ids_L == image_pad_id for i in alike}
        if len({int(of_sample.sum()) for of_sample in is_vision.values()}) > 1:
            raise ValueError("samples that have their patches in common must show all of their frames")
        numbers = {i: num_encoded + np.cumsum(is_vision[i]) - 1 for i in alike}
        shown += [numbers[i][first:end][is_vision[i][first:end]] for i, first, end in tree.grow(alike)]
        if len(samples[alike[0]].grids_F3):
            distinct.append(samples[alike[0]])
            num_encoded += int(is_vision[alike[0]].sum())
    chosen = [s.trained_C for s in samples]
    places = [tree.places(i)[at - 1] for i, at in enumerate(chosen)]
    taken = [(samples[i], slice(first, end)) for i, first, end in tree.stretches]
    return TrainingBatch(
        tuple(tree.branches),
        torch.from_numpy(np.concatenate([s.token_ids_L[part] for s, part in taken])),
        torch.from_numpy(np.concatenate([s.positions_3L[:, part] for s, part in taken], axis=1)),
        torch.from_numpy(np.concatenate(places)),
        torch.from_numpy(np.concatenate([s.targets_L[at] for s, at in zip(samples, chosen, strict=True)])),
        torch.from_numpy(np.concatenate([s.weights_L[at] for s, at in zip(samples, chosen, strict=True)])),
        torch.from_numpy(np.concatenate([s.patches_NP for s in distinct] or [np.zeros((0, 0), np.float32)])),
        torch.from_numpy(np.concatenate([s.grids_F3 for s in distinct] or [np.zeros((0, 3), np.int64)])),
        torch.from_numpy(np.concatenate(shown)),
    )


def _showing_the_same(samples: Sequence[TrainingSample]) -> list[list[int]]:
    """Numbers of samples, those with the very same patches together: equal ids then stand for equal pictures."""
    groups: dict[int, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(id(sample.patches_NP), []).append(i)
    return list(groups.values())


Stretch = tuple[int, int, int]  # the tokens of a branch: of which sample, from where to where in it


@dataclass(slots=True, eq=False)
class _Tree:
    """The branches that samples are put together from, and the stretch of tokens that each holds."""

    samples: Sequence[TrainingSample]
    branches: list[Branch] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)  # of each branch, among all tokens
    _ways: dict[int, tuple[int, ...]] = field(default_factory=dict)  # of each sample, from the root to its end

    def grow(self, alike: Sequence[int], first: int = 0, before: tuple[int, ...] = ()) -> list[Stretch]:
        """Adds samples that agree in what stands before `first`; returns what was added."""
        num_branches = len(self.branches)
        rows = {i: self.samples[i].token_ids_L for i in alike}
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
        return self.stretches[num_branches:]

    def places(self, i: int) -> np.ndarray:
        """(L,) where each token of sample `i` stands among all."""
        ranges = [np.arange(self._starts[n], self._starts[n] + self.branches[n].length) for n in self._ways[i]]
        return np.concatenate(ranges)


def _num_alike(rows: Sequence[np.ndarray]) -> int:
    """How many ids these rows have in common at their beginning."""
    shortest = min(len(row) for row in rows)
    differs = np.zeros(shortest, bool)
    for row in rows[1:]:
        differs |= row[:shortest] != rows[0][:shortest]
    return int(differs.argmax()) if differs.any() else shortest
