"""What the settings of training must satisfy, each kind of number named in the same words. All
raise ConfigError."""

from __future__ import annotations

import math
from typing import Any

from oncue.errors import ConfigError

AUTOCAST_DTYPES = ("bfloat16",)  # float16 would need its losses scaled
_SEEDS = 2**63  # what torch takes


def require(holds: bool, name: str, rule: str, value: object) -> None:
    """Says what `name` must be (`rule`), unless that `holds`."""
    if not holds:
        raise ConfigError(f"{name} must be {rule}, got {value!r}")


def require_at_least_one(settings: Any, *names: str) -> None:
    """Each of these settings is 1 or more."""
    for name in names:
        require(getattr(settings, name) >= 1, name, "at least 1", getattr(settings, name))


def require_positive(settings: Any, *names: str) -> None:
    """Each of these settings is above 0 and finite, or None."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or 0 < value < math.inf, name, "a positive number", value)


def require_not_negative(settings: Any, *names: str) -> None:
    """Each of these settings is 0 or more, and finite."""
    for name in names:
        require(0 <= getattr(settings, name) < math.inf, name, "0 or more", getattr(settings, name))


def require_frac(settings: Any, *names: str) -> None:
    """Each of these settings lies between 0 and 1, or is None."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or 0 <= value <= 1, name, "between 0 and 1", value)


def check_run(config: Any) -> None:
    """The settings that supervised training and reinforcement learning have in common."""
    require_at_least_one(config, "frames_per_turn", "max_tokens", "micro_batch_size")
    require_at_least_one(config, "log_every_steps", "save_every_steps", "keep_checkpoints")
    require_positive(config, "frame_interval_s", "learning_rate", "max_grad_norm")
    require_not_negative(config, "weight_decay", "num_workers")
    require_frac(config, "final_learning_rate_frac")
    require(
        0 <= config.seed < _SEEDS, "seed", "0 or more, and below 2 to the power of 63", config.seed
    )
    require(
        all(0 <= beta < 1 for beta in config.betas),
        "betas",
        "two numbers from 0 to below 1",
        config.betas,
    )
    rule = (
        "float32 (shorter numbers round most steps of AdamW away at such rates, so the model would "
        "barely train; to "
        "compute in bfloat16, keep float32 weights and set --autocast-dtype bfloat16)"
    )
    require(config.param_dtype == "float32", "param_dtype", rule, config.param_dtype)
    if config.autocast_dtype is not None:
        known = " or ".join(AUTOCAST_DTYPES)
        require(
            config.autocast_dtype in AUTOCAST_DTYPES, "autocast_dtype", known, config.autocast_dtype
        )
