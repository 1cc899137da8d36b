"""From finished episodes to what a policy update reads: the sampled choices, their log-probabilities, their credit.

The tokens are those of the rollout, put together by the same rules (`renderer.decision`), never decoded and encoded
again. Choices of history, and closing tokens that were appended by force, are context and carry no loss.

Axis letters as in `packing`; L tokens of a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from oncue.render.base import PatchedFrame
from oncue.render.decision import Lead
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.train.packing import TrainingBatch, collate
from oncue.train.samples import TrainingSample
from oncue.types import Episode


@dataclass(frozen=True, slots=True, eq=False)
class PolicySample:
    """One episode for a policy update: `weights_L` of `sample` is 1 at sampled choices. `old_logprobs_L`: what the
    sampler gave each. `limited_L`: which choices were limited to the ids of the decision. `advantage`: of the whole
    episode."""

    sample: TrainingSample
    old_logprobs_L: np.ndarray
    limited_L: np.ndarray
    advantage: float

    @property
    def num_choices(self) -> int:
        return len(self.sample.trained_C)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyBatch:
    """Collated samples; `old_logprobs_C`, `limited_C` and `advantages_C` in the order of the trained choices."""

    batch: TrainingBatch
    old_logprobs_C: torch.Tensor
    limited_C: torch.Tensor
    advantages_C: torch.Tensor

    def to(self, device: torch.device) -> PolicyBatch:
        """The same batch on `device`."""
        return PolicyBatch(
            self.batch.to(device),
            self.old_logprobs_C.to(device),
            self.limited_C.to(device),
            self.advantages_C.to(device),
        )


def policy_samples(
    episodes: Sequence[Episode],
    advantages: Sequence[float],
    frames: Sequence[PatchedFrame],
    renderer: QwenVLRenderer,
    system: str,
) -> list[PolicySample]:
    """A sample of each episode of a group. All of them were shown `frames`, in order, so a batch encodes these once."""
    patches = np.concatenate([frame.patches for frame in frames]) if frames else np.zeros((0, 0), np.float32)
    return [
        _policy_sample(episode, frames, patches, renderer, system, advantage)
        for episode, advantage in zip(episodes, advantages, strict=True)
    ]


def _policy_sample(
    episode: Episode,
    frames: Sequence[PatchedFrame],
    patches_NP: np.ndarray,
    renderer: QwenVLRenderer,
    system: str,
    advantage: float,
) -> PolicySample:
    ids: list[int] = renderer.system_block(system).token_ids.tolist()
    places: list[tuple[int, int, float, bool]] = []  # place, target, log-probability, limited
    decision, lead, num_shown = renderer.decision, Lead.START, 0
    for exchange in episode.exchanges:
        acted, num_frames = exchange.acted, len(exchange.observed.frames)
        grids = [frame.grid for frame in frames[num_shown : num_shown + num_frames]]
        num_shown += num_frames
        ids += renderer.user_turn_ids(exchange.observed.text, grids, lead).tolist()
        place = len(ids)
        num_chosen = len(acted.token_ids) - acted.forced_close if acted.sampled else 0
        for k in range(num_chosen):
            limited = decision.allowed(k) is not None
            places.append((place, acted.token_ids[k], acted.logprobs[k], limited))
            place += len(decision.next_input(acted.token_ids[: k + 1]) or ())
        ids += decision.kept(acted.token_ids)
        lead = decision.lead_after(acted.token_ids)
    if places and places[-1][0] == len(ids):  # a last choice that no token stands for
        ids.append(places[-1][1])
    return _sample(ids, places, frames, patches_NP, renderer, advantage)


def _sample(
    ids: list[int],
    places: Sequence[tuple[int, int, float, bool]],
    frames: Sequence[PatchedFrame],
    patches_NP: np.ndarray,
    renderer: QwenVLRenderer,
    advantage: float,
) -> PolicySample:
    token_ids = np.array(ids, np.int64)
    targets, weights = token_ids.copy(), np.zeros(len(ids), np.float32)
    logprobs, limited = np.zeros(len(ids), np.float32), np.zeros(len(ids), bool)
    for place, target, logprob, is_limited in places:
        targets[place], weights[place], logprobs[place], limited[place] = target, 1.0, logprob, is_limited
    grids = np.array([frame.grid for frame in frames], np.int64).reshape(-1, 3)
    positions, _ = mrope_positions(token_ids, grids, renderer.image_pad_id, renderer.merge_size, 0)
    sample = TrainingSample(token_ids, targets, positions, weights, patches_NP, grids)
    return PolicySample(sample, logprobs, limited, advantage)


def micro_batches(samples: Sequence[PolicySample], size: int) -> list[list[PolicySample]]:
    """The samples in stretches of at most `size`. Members of a group, which follow one another, have most of their
    tokens in common: they are only parted where a group is larger than that."""
    groups: dict[int, list[PolicySample]] = {}
    for sample in samples:
        groups.setdefault(id(sample.sample.patches_NP), []).append(sample)
    batches: list[list[PolicySample]] = []
    for group in groups.values():
        for first in range(0, len(group), size):
            part = group[first : first + size]
            if batches and len(batches[-1]) + len(part) <= size:
                batches[-1] += part
            else:
                batches.append(part)
    return batches


def collate_policy(samples: Sequence[PolicySample], image_pad_id: int) -> PolicyBatch:
    """Packs samples (at least one); the choices of all follow one another."""
    chosen = [s.sample.trained_C for s in samples]
    return PolicyBatch(
        collate([s.sample for s in samples], image_pad_id),
        torch.from_numpy(np.concatenate([s.old_logprobs_L[c] for s, c in zip(samples, chosen, strict=True)])),
        torch.from_numpy(np.concatenate([s.limited_L[c] for s, c in zip(samples, chosen, strict=True)])),
        torch.from_numpy(np.repeat([s.advantage for s in samples], [len(c) for c in chosen]).astype(np.float32)),
    )
