"""The policy update of a step: judged groups in, better weights out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from oncue.engine.sampler import banned_tokens
from oncue.engine.sampling import token_logprobs
from oncue.model.loading import LoadedModel, load_model
from oncue.stopping import Stopper
from oncue.train.checkpoint import Progress, load_progress, not_finite, save_checkpoint
from oncue.train.forward import trained_logits
from oncue.train.parallel import ALONE, Ranks
from oncue.train.rl.groups import Group
from oncue.train.rl.policy_loss import PolicyLoss, policy_loss
from oncue.train.rl.policy_samples import (
    PolicyBatch,
    PolicySample,
    collate_policy,
    micro_batches,
    policy_samples,
)
from oncue.train.rl.settings import GrpoConfig
from oncue.train.schedule import scheduled_rate
from oncue.train.sharding import (
    Root,
    as_number,
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
    says after an update that failed.
    """

    def __init__(
        self,
        config: GrpoConfig,
        loaded: LoadedModel,
        checkpoints: Path,
        ranks: Ranks = ALONE,
        stopper: Stopper | None = None,
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
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self._reference = _reference(config, loaded)
        self._banned_V = banned_tokens(loaded).to(loaded.device)
        self._all_but_V = torch.ones_like(self._banned_V)
        self._all_but_V[sorted(loaded.renderer.decision.allowed(0) or ())] = False

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Learn from judged groups; returns what is logged. Raises RunStoppedError where a loss is
        not finite."""
        self.may_save = not self.is_sharded
        self._root.train()
        config = self.config
        warmup, share = config.warmup_steps, config.final_learning_rate_frac
        rate = scheduled_rate(
            config.learning_rate, step, config.num_steps, warmup=warmup, final_frac=share
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        decision = self.loaded.renderer.decision
        with self._own_work():
            samples = [policy_samples(group.traces, group.advantages, decision) for group in groups]
        size = len(groups) // config.num_minibatches
        made: list[dict[str, float]] = []  # of each update
        num_tokens = 0  # that were trained
        for first in range(0, len(groups), size):
            mine = samples[first : first + size]
            taught_by = self._taught_by(mine)
            num_tokens += sum(len(sample.sample.segment) for group in taught_by for sample in group)
            num_choices = sum(sample.num_choices for group in mine for sample in group)
            made.append(self._one_update(taught_by, num_choices, step))
        self.may_save = True
        return {
            "learning_rate": rate,
            "num_tokens": sum(self.ranks.gather(num_tokens)),
            **_of_step(made),
        }

    @contextmanager
    def whole_model(self) -> Iterator[None]:
        """Within the block `loaded.model` has its weights, in eval mode; outside only where it is
        not sharded."""
        self.loaded.model.eval()
        with gathered(self.loaded.model, self._root.model) if self.is_sharded else nullcontext():
            yield

    def load(self, checkpoint: Path) -> Progress:
        """Puts the optimiser into the state it was saved in, sharded then or not."""
        place = partial(sharded_state, parameters=self.parameters) if self.is_sharded else None
        return load_progress(checkpoint, self.optimizer, place)

    def save(self, progress: Progress, beside_weights: Mapping[str, bytes]) -> Path:
        """Writes a checkpoint; returns its folder. Raises RunStoppedError where it cannot be
        written."""
        folder, state, keep = None, whole_state(self.optimizer), self.config.keep_checkpoints
        with self.whole_model(), self.ranks.together():
            if self.ranks.is_first:
                folder = save_checkpoint(
                    self.checkpoints, self.loaded, state, progress, beside_weights, keep=keep
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
        losses = []
        with self._own_work():
            for part in micro_batches(groups, self.config.micro_batch_size):
                batch = collate_policy(part, self.loaded.renderer.image_pad_id)
                losses.append(self._backward(batch.to(self.loaded.device), num_choices))
        if not self.is_sharded:  # shards are summed already
            self.ranks.sum_gradients(self.parameters)
        grad_norm = as_number(
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        )
        sums, gaps = zip(*self.ranks.gather(_sums_and_gap(losses)), strict=True)
        loss, num_clipped, entropy, kl, num_seen, num_cut = (
            sum(of_ranks) for of_ranks in zip(*sums, strict=True)
        )
        loss /= num_choices
        self.may_save = False
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self.optimizer.zero_grad(set_to_none=True)
            with self.ranks.together():
                raise not_finite(step + 1, loss, grad_norm, self.checkpoints)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "loss": loss,
            "grad_norm": grad_norm,
            "clip_frac": num_clipped / num_choices,
            "entropy": entropy / num_seen,
            "kl": kl / num_seen,
            "max_ratio_gap": max(gaps),
            "frac_sampled_outside_top_k": num_cut / num_seen,
            "num_choices": float(num_choices),
        }

    def _taught_by(
        self, groups: Sequence[Sequence[PolicySample]]
    ) -> Sequence[Sequence[PolicySample]]:
        """The samples with a gradient. One in which no turn did better or worse than the group's
        has none, unless the loss looks at more than advantages; all stay where processes must run
        as many micro-batches as each other.
        """
        if (
            self.is_sharded
            or self.config.loss.kl_coefficient
            or self.config.loss.entropy_coefficient
        ):
            return groups
        taught_by = [[sample for sample in group if sample.advantages_L.any()] for group in groups]
        return taught_by if any(self.ranks.gather(any(taught_by))) else groups

    def _backward(self, batch: PolicyBatch, num_choices: int) -> PolicyLoss:
        dtype = (
            getattr(torch, self.config.autocast_dtype)
            if self.config.autocast_dtype
            else torch.float32
        )
        enabled, caches = (
            self.config.autocast_dtype is not None,
            not self.is_sharded,
        )  # a cache would keep whole weights
        with torch.autocast(self.loaded.device.type, dtype, enabled=enabled, cache_enabled=caches):
            logprobs_CV, targets_C = self._logprobs(self._root, batch)
        reference_C = None
        if self._reference is not None:
            with torch.no_grad():
                reference_CV, _ = self._logprobs(self._reference, batch)
            reference_C = reference_CV.gather(1, targets_C[:, None])[:, 0]
        made = policy_loss(
            logprobs_CV,
            targets_C,
            batch.old_logprobs_C,
            batch.advantages_C,
            self.config.loss,
            reference_C,
        )
        (made.loss / num_choices).backward()
        return made

    def _logprobs(self, root: Root, batch: PolicyBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probabilities (C, V) of the very distribution the sampler drew from, and the ids
        drawn (C,)."""
        logits_CV, targets_C, _ = root(
            trained_logits, batch.batch, self.loaded.renderer.image_pad_id
        )
        banned = self._banned_V
        if bool(batch.limited_C.any()):
            banned = torch.where(batch.limited_C[:, None], self._all_but_V, self._banned_V)
        return token_logprobs(logits_CV, self.config.sampling, banned), targets_C


def _of_step(updates: Sequence[dict[str, float]]) -> dict[str, float]:
    """What is logged of a step of these updates: means, but for the number of choices and the
    greatest gap."""
    values = {name: [update[name] for update in updates] for name in updates[0]}
    means = {name: sum(of_updates) / len(updates) for name, of_updates in values.items()}
    return {
        **means,
        "num_choices": sum(values["num_choices"]),
        "max_ratio_gap": max(values["max_ratio_gap"]),
    }


def _sums_and_gap(losses: Sequence[PolicyLoss]) -> tuple[tuple[float, ...], float]:
    """Of these micro-batches the sums of loss, clipped choices, entropy, KL, choices and cut ones;
    the greatest gap."""
    sums = (
        sum(float(made.loss.detach()) for made in losses),
        sum(made.num_clipped for made in losses),
        sum(made.sum_entropy for made in losses),
        sum(made.sum_kl for made in losses),
        sum(made.num_choices for made in losses),
        sum(made.num_cut for made in losses),
    )
    return sums, max((made.max_ratio_gap for made in losses), default=0.0)


def _reference(config: GrpoConfig, loaded: LoadedModel) -> Root | None:
    """The model the run started from, where the loss needs it; whole in every process."""
    if config.loss.kl_coefficient == 0:
        return None
    start = load_model(
        config.model, loaded.device, config.param_dtype, max_pixels=config.max_pixels
    )
    return Root(start.model.requires_grad_(False))
