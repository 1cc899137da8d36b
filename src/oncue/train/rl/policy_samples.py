"""From traces and advantages to what a policy update reads.

The tokens are those of the rollout. Choices of history, and closing tokens that were appended by
force, are context and carry no loss.

Axis letters as in `packing`; L tokens of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    of the decision. `values_L`, `returns_L`: with a critic, what it expected and what it is trained
    towards.
    """

    sample: TrainingSample
    advantages_L: np.ndarray
    limited_L: np.ndarray
    values_L: np.ndarray | None = None
    returns_L: np.ndarray | None = None

    @property
    def num_choices(self) -> int:
        return len(self.sample.trained_C)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Of the choices of a sample, each (L,) float32, 0 where nothing was chosen: what the critic
    expected, and by how much (nats) the choice is likelier than under the reference."""

    values_L: np.ndarray
    kl_L: np.ndarray

    @classmethod
    def at(cls, sample: PolicySample, values_C: torch.Tensor, kl_C: torch.Tensor) -> Expected:
        """From the numbers of the choices alone."""
        places, length = sample.sample.trained_C, len(sample.sample.segment)
        values_L, kl_L = np.zeros(length, np.float32), np.zeros(length, np.float32)
        values_L[places], kl_L[places] = values_C.float().numpy(), kl_C.float().numpy()
        return cls(values_L, kl_L)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyBatch:
    """Collated samples; `old_logprobs_C`, `limited_C`, `advantages_C`, and with a critic
    `old_values_C` and `returns_C`, in the order of the trained choices."""

    batch: TrainingBatch
    old_logprobs_C: torch.Tensor
    limited_C: torch.Tensor
    advantages_C: torch.Tensor
    old_values_C: torch.Tensor | None = None
    returns_C: torch.Tensor | None = None

    def to(self, device: torch.device) -> PolicyBatch:
        """The same batch on `device`."""
        return PolicyBatch(
            self.batch.to(device),
            self.old_logprobs_C.to(device),
            self.limited_C.to(device),
            self.advantages_C.to(device),
            None if self.old_values_C is None else self.old_values_C.to(device),
            None if self.returns_C is None else self.returns_C.to(device),
        )


def policy_samples(
    traces: Sequence[TokenTrace],
    advantages: Sequence[Sequence[np.ndarray]],
    decision: DecisionFormat,
    values: Sequence[Sequence[np.ndarray]] = (),
    returns: Sequence[Sequence[np.ndarray]] = (),
) -> list[PolicySample]:
    """A sample of every segment of every member of a group, member after member.

    `advantages`: of each member, of each segment of its trace (L,), what its choices gained;
    `values` and `returns` likewise, with a critic.
    """
    samples = [
        PolicySample(
            TrainingSample(segment, segment.loss_mask.astype(np.float32)),
            of_segment,
            _limited(segment, decision),
        )
        for trace, of_member in zip(traces, advantages, strict=True)
        for segment, of_segment in zip(trace.segments, of_member, strict=True)
    ]
    if not values:
        return samples
    flat_values, flat_returns = ([one for of in given for one in of] for given in (values, returns))
    return [
        replace(sample, values_L=value, returns_L=earned)
        for sample, value, earned in zip(samples, flat_values, flat_returns, strict=True)
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

    def joined(of_samples: Sequence[np.ndarray]) -> torch.Tensor:
        picked = [of[c] for of, (_, c) in zip(of_samples, chosen, strict=True)]
        return torch.from_numpy(np.concatenate(picked))

    values = [s.values_L for s in samples if s.values_L is not None]
    returns = [s.returns_L for s in samples if s.returns_L is not None]
    return PolicyBatch(
        collate([s.sample for s in samples], image_pad_id),
        joined([s.sample.segment.logprobs for s in samples]),
        joined([s.limited_L for s in samples]),
        joined([s.advantages_L for s in samples]),
        joined(values) if values else None,
        joined(returns) if returns else None,
    )
