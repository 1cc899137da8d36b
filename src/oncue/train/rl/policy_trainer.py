"""The policy update of a step: judged groups in, better weights out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from oncue.model.loading import LoadedModel
from oncue.stopping import Stopper
from oncue.train.checkpoint import Progress, load_progress, not_finite, save_checkpoint
from oncue.train.parallel import ALONE, Ranks
from oncue.train.rl.critic import Critic
from oncue.train.rl.groups import Group
from oncue.train.rl.optimizing import clip_gradients, make_optimizer, set_rates
from oncue.train.rl.policy_passes import PolicyPasses
from oncue.train.rl.policy_samples import (
    Expected,
    PolicyBatch,
    PolicySample,
    collate_policy,
    micro_batches,
    policy_samples,
)
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.rl.update_metrics import of_step, own_sums, sums_of, update_metrics
from oncue.train.sharding import (
    Root,
    gathered,
    hollow_copy,
    shard,
    sharded_state,
    whole_state,
)
from oncue.train.trainable import freeze, recompute_activations


class PolicyTrainer:
    """Weights, optimiser, and the update of one step.

    `stopper`: a signal stops an update as long as no weight has changed. `may_save`: whether the
    weights are those of finished steps, and all processes know when they are to meet next; so it
    says after an update that failed. `critic`: with the settings of PPO; `checkpoint`: of a run
    that is resumed, where it is found again.
    """

    def __init__(
        self,
        config: GrpoConfig,
        loaded: LoadedModel,
        checkpoints: Path,
        ranks: Ranks = ALONE,
        stopper: Stopper | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self.config, self.loaded, self.checkpoints, self.ranks = config, loaded, checkpoints, ranks
        self.may_save = True
        self._stopper = stopper or Stopper()
        self._root = Root(loaded.model)
        freeze(
            loaded.model,
            freeze_vision=config.freeze_vision,
            freeze_merger=config.freeze_merger,
            patterns=config.frozen,
        )
        if config.gradient_checkpointing:
            recompute_activations(loaded.model)
        self.is_sharded = config.sharding == "full" and ranks.size > 1
        if self.is_sharded:
            self.loaded = replace(loaded, model=hollow_copy(loaded.model))
            shard(self._root, loaded.device)
        self.parameters = [p for p in self._root.parameters() if p.requires_grad]
        self.critic = (
            Critic(config, loaded, checkpoint, is_sharded=self.is_sharded)
            if isinstance(config, PpoConfig)
            else None
        )
        self.optimizer = make_optimizer(config, self.parameters, self._parts_of_critic)
        self._passes = PolicyPasses(
            config, loaded, self._root, self.critic, is_sharded=self.is_sharded
        )

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Learn from judged groups; returns what is logged. Raises RunStoppedError where a loss is
        not finite."""
        self.may_save = not self.is_sharded
        self._train_mode()
        config = self.config
        rate = set_rates(self.optimizer, config, step)
        with self._own_work():
            samples = [self._samples(group) for group in groups]
        size = len(groups) // config.num_minibatches
        made: list[dict[str, float]] = []  # of each update
        num_tokens = 0  # that were trained
        for epoch in range(config.num_epochs):
            order = _order(len(groups), (config.seed, step, epoch))
            for first in range(0, len(groups), size):
                mine = [samples[i] for i in order[first : first + size]]
                taught_by = self._taught_by(mine)
                num_tokens += sum(len(one.sample.segment) for group in taught_by for one in group)
                num_choices = sum(sample.num_choices for group in mine for sample in group)
                made.append(self._one_update(taught_by, num_choices, step))
        self.may_save = True
        return {
            "learning_rate": rate,
            "num_tokens": sum(self.ranks.gather(num_tokens)),
            **of_step(made),
        }

    def expected(self, groups: Sequence[Group]) -> list[list[Expected]]:
        """What the critic and the model that the run started from make of every choice, before an
        update: of each group, of each sample (`policy_samples`)."""
        assert self.critic is not None
        self.may_save = not self.is_sharded
        self._train_mode()
        found = []
        with self._own_work(), torch.no_grad():
            for group in groups:
                samples = self._samples(group)
                parts = self._same_number(micro_batches([samples], self.config.micro_batch_size))
                of_parts = [self._passes.expected(part, self._collated(part)) for part, _ in parts]
                found.append([one for of_part in of_parts for one in of_part][: len(samples)])
        self.may_save = True
        return found

    def _collated(self, part: Sequence[PolicySample]) -> PolicyBatch:
        return collate_policy(part, self.loaded.renderer.image_pad_id).to(self.loaded.device)

    def _samples(self, group: Group) -> list[PolicySample]:
        decision, given = self.loaded.renderer.decision, group.advantages
        unknown = [tuple(np.zeros(len(s), np.float32) for s in t.segments) for t in group.traces]
        return policy_samples(group.traces, given or unknown, decision, group.values, group.returns)

    def _train_mode(self) -> None:
        self._root.train()
        if self.critic is not None:
            self.critic.train()

    @contextmanager
    def whole_model(self) -> Iterator[None]:
        """Within the block `loaded.model` has its weights, in eval mode; outside only where it is
        not sharded."""
        self.loaded.model.eval()
        with gathered(self.loaded.model, self._root.model) if self.is_sharded else nullcontext():
            yield

    def load(self, checkpoint: Path) -> Progress:
        """Puts the optimiser into the state it was saved in, sharded then or not."""
        place = partial(sharded_state, parameters=self.trained) if self.is_sharded else None
        return load_progress(checkpoint, self.optimizer, place)

    def save(self, progress: Progress, beside_weights: Mapping[str, bytes]) -> Path:
        """Writes a checkpoint; returns its folder. Raises RunStoppedError where it cannot be
        written."""
        folder, state, keep = None, whole_state(self.optimizer), self.config.keep_checkpoints
        critic = self.critic
        with (
            self.whole_model(),
            nullcontext() if critic is None else critic.whole(),
            self.ranks.together(),
        ):
            if self.ranks.is_first:
                folder = save_checkpoint(
                    self.checkpoints,
                    self.loaded,
                    state,
                    progress,
                    beside_weights,
                    keep=keep,
                    write_more=None
                    if critic is None
                    else partial(critic.save, beside_weights=beside_weights),
                )
        written = self.ranks.gather(folder)[0]
        assert written is not None
        return written

    @contextmanager
    def _own_work(self) -> Iterator[None]:
        """A block in which no process meets another, so that all stop where it fails in one. Of a
        sharded model they meet in every layer."""
        if self.is_sharded:
            yield
            return
        with (
            self.ranks.together(),
            self._stopper.interruptible() if self.may_save else nullcontext(),
        ):
            yield

    def _one_update(
        self, groups: Sequence[Sequence[PolicySample]], num_choices: int, step: int
    ) -> dict[str, float]:
        """One optimiser step over the samples of all processes, as means over the `num_choices` of
        these and of members without a gradient; how they are split does not change the gradient."""
        num_choices = sum(self.ranks.gather(num_choices))
        parts = self._same_number(micro_batches(groups, self.config.micro_batch_size))
        losses = []
        with self._own_work():
            for part, counts in parts:
                share = float(counts) / num_choices
                made = self._passes.backward(self._collated(part), share, step)
                losses += [made] if counts else []
        self.ranks.sum_gradients(self._unsummed)
        apart = [[self.parameters], self._parts_of_critic]
        norms = [clip_gradients(parts, self.config.max_grad_norm) for parts in apart if parts]
        sums = sums_of(self.ranks.gather(own_sums(losses)))
        self.may_save = False
        loss = sums["loss"] / num_choices
        if not (math.isfinite(loss) and all(map(math.isfinite, norms))):
            self.optimizer.zero_grad(set_to_none=True)
            with self.ranks.together():
                raise not_finite(step + 1, loss, math.hypot(*norms), self.checkpoints)
        if self._is_warming_up(step):  # no gradient is not one of 0, which moves AdamW on
            for parameter in self.parameters:
                parameter.grad = None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return update_metrics(sums, num_choices, norms, has_critic=self.critic is not None)

    def _is_warming_up(self, step: int) -> bool:
        """Whether the critic learns alone."""
        return isinstance(self.config, PpoConfig) and step < self.config.critic.warmup_steps

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """All that is trained, in the order of the optimiser."""
        return [*self.parameters, *(p for part in self._parts_of_critic for p in part)]

    @property
    def has_reference(self) -> bool:
        """Whether the model that the run started from is at hand."""
        return self._passes.has_reference

    @property
    def stored(self) -> list[torch.nn.Parameter]:
        """All weights in a checkpoint, trained or not."""
        of_critic = [] if self.critic is None else self.critic.stored
        return [*self._root.parameters(), *of_critic]

    @property
    def _unsummed(self) -> list[torch.nn.Parameter]:
        """Parameters whose gradients the processes add up themselves: shards are summed already."""
        if not self.is_sharded:
            return self.trained
        return [] if self.critic is None else list(self.critic.head.parameters())

    @property
    def _parts_of_critic(self) -> list[list[torch.nn.Parameter]]:
        return [] if self.critic is None else self.critic.parts

    def _same_number(
        self, parts: Sequence[Sequence[PolicySample]]
    ) -> list[tuple[Sequence[PolicySample], bool]]:
        """The micro-batches, each with whether it counts. Of a sharded model all processes must run
        as many: the last one is then repeated, and does not count."""
        counted = [(part, True) for part in parts]
        if not self.is_sharded:
            return counted
        most = max(self.ranks.gather(len(parts)))
        return [*counted, *([(parts[-1], False)] * (most - len(parts)))]

    def _taught_by(
        self, groups: Sequence[Sequence[PolicySample]]
    ) -> Sequence[Sequence[PolicySample]]:
        """The samples with a gradient. One in which no turn did better or worse than the group's
        has none, unless the loss looks at more than advantages; all stay where processes must run
        as many micro-batches as each other.
        """
        if (
            self.is_sharded
            or self.critic is not None
            or self.config.loss.kl_coefficient
            or self.config.loss.entropy_coefficient
        ):
            return groups
        taught_by = [[sample for sample in group if sample.advantages_L.any()] for group in groups]
        return taught_by if any(self.ranks.gather(any(taught_by))) else groups


def _order(num_groups: int, seed: Sequence[int]) -> list[int]:
    """In which order an epoch takes the groups: the first as they come, later ones by chance."""
    if not seed[-1]:
        return list(range(num_groups))
    return np.random.default_rng(list(seed)).permutation(num_groups).tolist()
