"""From traces and advantages to what a policy update reads.

The tokens are those of the rollout. Choices of history, and closing tokens that were appended by
force, are context and carry no loss.

Axis letters as in `packing`; L tokens of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from oncue.render.decision import DecisionFormat
from oncue.render.trace import TokenTrace, TraceSegment
from oncue.train.packing import TrainingBatch, collate
from oncue.train.samples import TrainingSample


@dataclass(frozen=True, slots=True, eq=False)
class PolicySample:
    """A segment of one episode for a policy update: every choice in it weighs 1.

    `advantages_L`: 0 where nothing was chosen. `limited_L`: which choices were limited to the ids
    of the decision.
    """

    sample: TrainingSample
    advantages_L: np.ndarray
    limited_L: np.ndarray

    @property
    def num_choices(self) -> int:
        return len(self.sample.trained_C)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyBatch:
    """Collated samples; `old_logprobs_C`, `limited_C` and `advantages_C` in the order of the
    trained choices."""

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
    traces: Sequence[TokenTrace],
    advantages: Sequence[Sequence[np.ndarray]],
    decision: DecisionFormat,
) -> list[PolicySample]:
    """A sample of every segment of every member of a group, member after member.

    `advantages`: of each member, of each segment of its trace (L,), what its choices gained.
    """
    return [
        PolicySample(
            TrainingSample(segment, segment.loss_mask.astype(np.float32)),
            of_segment,
            _limited(segment, decision),
        )
        for trace, of_member in zip(traces, advantages, strict=True)
        for segment, of_segment in zip(trace.segments, of_member, strict=True)
    ]


def _limited(segment: TraceSegment, decision: DecisionFormat) -> np.ndarray:
    """(L,) bool: the choices for which the decision format allows some ids only."""
    limited = np.zeros(len(segment), bool)
    num_chosen, turn = 0, -1
    for place in np.flatnonzero(segment.loss_mask).tolist():
        num_chosen = num_chosen + 1 if segment.turn_of[place] == turn else 0
        turn = segment.turn_of[place]
        limited[place] = decision.allowed(num_chosen) is not None
    return limited


def micro_batches(groups: Sequence[Sequence[PolicySample]], size: int) -> list[list[PolicySample]]:
    """The samples of all groups in stretches of at most `size`. Members of a group have most of
    their tokens in common: they are only parted where a group is larger than that."""
    batches: list[list[PolicySample]] = []
    for group in groups:
        for first in range(0, len(group), size):
            part = list(group[first : first + size])
            if batches and len(batches[-1]) + len(part) <= size:
                batches[-1] += part
            else:
                batches.append(part)
    return batches


def collate_policy(samples: Sequence[PolicySample], image_pad_id: int) -> PolicyBatch:
    """Packs samples (at least one); the choices of all follow one another."""
    chosen = [(s, s.sample.trained_C) for s in samples]
    return PolicyBatch(
        collate([s.sample for s in samples], image_pad_id),
        torch.from_numpy(np.concatenate([s.sample.segment.logprobs[c] for s, c in chosen])),
        torch.from_numpy(np.concatenate([s.limited_L[c] for s, c in chosen])),
        torch.from_numpy(np.concatenate([s.advantages_L[c] for s, c in chosen])),
    )
