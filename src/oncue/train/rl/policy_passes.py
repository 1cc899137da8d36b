"""The passes over one micro-batch of an update: what the choices cost now, and what was expected of
them before."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from oncue.engine.sampler import banned_tokens
from oncue.engine.sampling import token_logprobs
from oncue.model.loading import LoadedModel, load_model
from oncue.train.forward import states_and_logits, trained_logits, trained_states
from oncue.train.rl.critic import Critic
from oncue.train.rl.policy_loss import PolicyLoss, policy_loss
from oncue.train.rl.policy_samples import Expected, PolicyBatch, PolicySample
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.rl.value_loss import ValueLoss, value_loss
from oncue.train.sharding import Root


class PolicyPasses:
    """Forward and backward passes of the policy `root`, of its critic, and, where the settings need
    it, of the model that the run started from."""

    def __init__(
        self,
        config: GrpoConfig,
        loaded: LoadedModel,
        root: Root,
        critic: Critic | None,
        *,
        is_sharded: bool,
    ) -> None:
        self._config, self._root, self._critic = config, root, critic
        self._is_sharded, self._device = is_sharded, loaded.device
        self._image_pad_id = loaded.renderer.image_pad_id
        self._reference = _reference(config, loaded)
        self._banned_V = banned_tokens(loaded).to(loaded.device)
        self._all_but_V = torch.ones_like(self._banned_V)
        self._all_but_V[sorted(loaded.renderer.decision.allowed(0) or ())] = False

    @property
    def has_reference(self) -> bool:
        """Whether the model that the run started from is at hand."""
        return self._reference is not None

    def expected(self, part: Sequence[PolicySample], batch: PolicyBatch) -> list[Expected]:
        """What the critic and the reference make of every choice of `part`, which is `batch`."""
        assert self._critic is not None
        with self._autocast():
            states_CE = self._root(trained_states, batch.batch, self._image_pad_id)
            values_C = self._critic.values(batch.batch, states_CE)
        gaps_C = torch.zeros_like(values_C)
        if self._reference is not None:
            with self._autocast():
                reference_CV, targets_C = self._logprobs(self._reference, batch)
            reference_C = reference_CV.gather(1, targets_C[:, None])[:, 0]
            gaps_C = (batch.old_logprobs_C - reference_C).clamp(-20.0, 20.0)
        sizes = [sample.num_choices for sample in part]
        of_samples = zip(part, values_C.cpu().split(sizes), gaps_C.cpu().split(sizes), strict=True)
        return [Expected.at(sample, values, gaps) for sample, values, gaps in of_samples]

    def backward(
        self, batch: PolicyBatch, share: float, step: int
    ) -> tuple[PolicyLoss, ValueLoss | None]:
        """Adds `share` of the gradient of the summed losses to the parameters. In the warm-up of
        the critic the policy gets none."""
        value = None
        with self._autocast():
            states_CE, logits_CV = self._root(states_and_logits, batch.batch, self._image_pad_id)
            logprobs_CV = self._of_sampler(logits_CV, batch)
            if self._critic is not None:
                value = self._value_loss(batch, states_CE, step)
        targets_C, reference_C = batch.batch.targets_C, None
        if self._reference is not None and self._config.loss.kl_coefficient:
            with torch.no_grad(), self._autocast():
                reference_CV, _ = self._logprobs(self._reference, batch)
            reference_C = reference_CV.gather(1, targets_C[:, None])[:, 0]
        made = policy_loss(
            logprobs_CV,
            targets_C,
            batch.old_logprobs_C,
            batch.advantages_C,
            self._config.loss,
            reference_C,
        )
        loss = made.loss
        if value is not None and isinstance(self._config, PpoConfig):
            critic = self._config.critic
            weight = critic.coefficient if critic.kind == "head" else 1.0
            policy_counts = step >= critic.warmup_steps
            loss = weight * value.loss + (loss if policy_counts else 0.0 * loss)
        (share * loss).backward()
        return made, value

    def _value_loss(self, batch: PolicyBatch, states_CE: torch.Tensor, step: int) -> ValueLoss:
        assert self._critic is not None
        assert isinstance(self._config, PpoConfig)
        assert batch.old_values_C is not None
        assert batch.returns_C is not None
        settings = self._config.critic
        states_CE = states_CE.detach() if step < settings.warmup_steps else states_CE
        values_C = self._critic.values(batch.batch, states_CE)
        return value_loss(values_C, batch.old_values_C, batch.returns_C, settings.value_clip)

    def _autocast(self) -> torch.autocast:
        """Products in the type of the settings, as the sampler has them."""
        name = self._config.autocast_dtype
        dtype = torch.float32 if name is None else getattr(torch, name)
        caches = not self._is_sharded  # a cache would keep whole weights
        kind = self._device.type
        return torch.autocast(kind, dtype, enabled=name is not None, cache_enabled=caches)

    def _logprobs(self, root: Root, batch: PolicyBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probabilities (C, V) of the very distribution the sampler drew from, and the ids
        drawn (C,)."""
        logits_CV, targets_C, _ = root(trained_logits, batch.batch, self._image_pad_id)
        return self._of_sampler(logits_CV, batch), targets_C

    def _of_sampler(self, logits_CV: torch.Tensor, batch: PolicyBatch) -> torch.Tensor:
        """The log-probabilities (C, V) of the very distribution the sampler drew from."""
        banned = self._banned_V
        if bool(batch.limited_C.any()):
            banned = torch.where(batch.limited_C[:, None], self._all_but_V, self._banned_V)
        return token_logprobs(logits_CV, self._config.sampling, banned)


def _reference(config: GrpoConfig, loaded: LoadedModel) -> Root | None:
    """The model the run started from, where the loss needs it; whole in every process."""
    in_reward = config.kl_in_reward if isinstance(config, PpoConfig) else 0.0
    if config.loss.kl_coefficient == 0 and in_reward == 0:
        return None
    start = load_model(
        config.model, loaded.device, config.param_dtype, max_pixels=config.max_pixels
    )
    return Root(start.model.requires_grad_(False))
