"""What of a model is trained, and at what cost of memory: the same for every way of training."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from oncue.errors import ConfigError
from oncue.model.known_families import family_of
from oncue.model.quantized import is_quantized


def freeze(
    model: Any,
    *,
    freeze_vision: bool,
    freeze_merger: bool,
    patterns: Sequence[str] = (),
    patterns_of: str = "frozen names",
) -> None:
    """Stops gradients into the vision tower and, separately, its mergers, and into parameters whose
    names match.

    All others are trained, whatever was frozen before. In `patterns`, `*` matches anything. Raises
    ConfigError for a pattern that no parameter matches, its message begins with `patterns_of`,
    where nothing is left to train, and for quantized weights, which cannot be trained.
    """
    if is_quantized(model):
        raise ConfigError(
            "the weights of this model are quantized and cannot be trained; start from plain "
            "weights"
        )
    names = [name for name, _ in model.named_parameters()]
    unknown = [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]
    if unknown:
        raise ConfigError(
            f"{patterns_of} {unknown[0]!r}, but no parameter has such a name; they look like "
            f"{names[0]}"
        )
    family = family_of(model.config.model_type)
    for name, parameter in model.named_parameters():
        frozen = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        if name.startswith(family.vision_prefix):
            is_merger = name.startswith(family.merger_prefixes)
            frozen |= freeze_merger if is_merger else freeze_vision
        parameter.requires_grad_(not frozen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"nothing is left to train: {patterns_of} all that the model has; freeze less of it"
        )


def recompute_activations(model: Any) -> None:
    """Trades time for memory, by the name that this release of transformers has for it."""
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}
        )
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
