"""What a state is worth: a value head on the policy's last layer, or a second model with one.

Axis letters: C trained choices, E width of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel, load_model
from oncue.train.checkpoint import save_model
from oncue.train.forward import trained_states
from oncue.train.packing import TrainingBatch
from oncue.train.rl.settings import PpoConfig
from oncue.train.sharding import Root, gathered, hollow_copy, shard
from oncue.train.trainable import freeze, recompute_activations

HEAD_FILE, MODEL_FOLDER = "critic_head.safetensors", "critic"


class Critic:
    """Values of the states in which choices are made. A new one expects nothing: its head is 0.

    `checkpoint`: of a run that is resumed. Raises ConfigError for one without a critic, and for a
    second model that reads other tokens or frames than the policy.
    """

    def __init__(
        self,
        config: PpoConfig,
        policy: LoadedModel,
        checkpoint: Path | None,
        *,
        is_sharded: bool,
    ) -> None:
        self._kind, self._is_sharded = config.critic.kind, is_sharded
        self._model: _CriticModel | None = None
        if config.critic.kind == "model":
            start = config.critic.model or config.model
            source = start if checkpoint is None else checkpoint / MODEL_FOLDER
            self._model = _CriticModel(config, policy.device, source, is_sharded=is_sharded)
            _check_reads_alike(self._model.loaded, policy)
        backbone = policy if self._model is None else self._model.loaded
        width = backbone.model.config.get_text_config().hidden_size
        self.head = torch.nn.Linear(width, 1, device=policy.device, dtype=torch.float32)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        if checkpoint is not None:
            self.head.load_state_dict(_head_in(checkpoint))

    @property
    def parts(self) -> list[list[torch.nn.Parameter]]:
        """All that is trained: of a second model, then the head, which is never sharded."""
        head = list(self.head.parameters())
        return [head] if self._model is None else [self._model.parameters, head]

    @property
    def stored(self) -> list[torch.nn.Parameter]:
        """All its weights, trained or not."""
        of_model = [] if self._model is None else self._model.root.parameters()
        return [*of_model, *self.head.parameters()]

    def values(self, batch: TrainingBatch, states_CE: Tensor) -> Tensor:
        """(C,) float32. `states_CE`: the policy's own, which a second model has no use for."""
        if self._model is not None:
            states_CE = self._model.states(batch)
        elif self._kind == "detached_head":
            states_CE = states_CE.detach()
        with torch.autocast(states_CE.device.type, enabled=False):
            values_C: Tensor = self.head(states_CE.float())[:, 0]
        return values_C

    def train(self) -> None:
        """As the policy's root is before an update."""
        if self._model is not None:
            self._model.root.train()

    def whole(self) -> AbstractContextManager[None]:
        """A block in which a sharded second model can be saved; all processes enter it."""
        return nullcontext() if self._model is None else self._model.whole()

    def save(self, folder: Path, beside_weights: Mapping[str, bytes]) -> None:
        """Writes it into the folder of a checkpoint: from the first process, within `whole`."""
        head = {name: value.detach().cpu() for name, value in self.head.state_dict().items()}
        save_file(head, folder / HEAD_FILE)
        if self._model is not None:
            save_model(self._model.loaded, folder / MODEL_FOLDER, beside_weights)


class _CriticModel:
    """The second model; its words are not used."""

    def __init__(
        self, config: PpoConfig, device: torch.device, source: str | Path, *, is_sharded: bool
    ) -> None:
        loaded = load_model(source, device, config.param_dtype, max_pixels=config.max_pixels)
        self.root, self.loaded, self._is_sharded = Root(loaded.model), loaded, is_sharded
        freeze(
            loaded.model,
            freeze_vision=config.freeze_vision,
            freeze_merger=config.freeze_merger,
            patterns=config.frozen,
        )
        if config.gradient_checkpointing:
            recompute_activations(loaded.model)
        if is_sharded:
            self.loaded = replace(loaded, model=hollow_copy(loaded.model))
            shard(self.root, loaded.device)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return [p for p in self.root.parameters() if p.requires_grad]

    def states(self, batch: TrainingBatch) -> Tensor:
        states_CE: Tensor = self.root(trained_states, batch, self.loaded.renderer.image_pad_id)
        return states_CE

    def whole(self) -> AbstractContextManager[None]:
        return gathered(self.loaded.model, self.root.model) if self._is_sharded else nullcontext()


def _check_reads_alike(critic: LoadedModel, policy: LoadedModel) -> None:
    """Raises ConfigError for a critic to which the policy's tokens or patches mean nothing."""

    def reading(loaded: LoadedModel) -> tuple[object, ...]:
        frames, tokenizer = loaded.renderer.frame_processor, loaded.renderer.tokenizer
        same_limits = replace(frames, min_pixels=1, max_pixels=1)
        return loaded.model.config.model_type, tokenizer.get_vocab(), same_limits

    if reading(critic) != reading(policy):
        raise ConfigError(
            f"critic.model must be a model of the policy's family, which reads the same tokens and "
            f"frames, got {critic.name}; its size may differ"
        )


def _head_in(checkpoint: Path) -> dict[str, Tensor]:
    path = checkpoint / HEAD_FILE
    if not path.is_file():
        raise ConfigError(
            f"{checkpoint} has no critic ({HEAD_FILE} is missing); start a new run from it with "
            "--model"
        )
    return load_file(path)
