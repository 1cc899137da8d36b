"""The settings of supervised fine-tuning, what they must satisfy, and what follows from them
alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from oncue.clock import Clock
from oncue.data.mixed_source import Source, files_of, has_end, rows_of
from oncue.data.retrieval_skills import RetrievalSkills
from oncue.data.row_checks import Check, source_checks
from oncue.errors import ConfigError
from oncue.render.decision import DecisionName
from oncue.setting_checks import check_run, require, require_frac, require_not_negative
from oncue.train.run_config import lighter_steps
from oncue.train.schedule import scheduled_rate


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training on one source. `num_steps` None: one epoch of a source that has an end.

    `frozen`: patterns (`*` matches anything) of the names of parameters that stay as they are
    during this stage, on top of what the whole run freezes.
    """

    name: str
    source: Source | RetrievalSkills
    batch_size: int
    num_steps: int | None = None
    learning_rate_scale: float = 1.0
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            self.batch_size >= 1,
            f"batch_size of stage {self.name!r}",
            "at least 1",
            self.batch_size,
        )
        if self.num_steps is not None:
            require(
                self.num_steps >= 1,
                f"num_steps of stage {self.name!r}",
                "at least 1",
                self.num_steps,
            )
        scale = self.learning_rate_scale
        require(
            0 < scale < math.inf,
            f"learning_rate_scale of stage {self.name!r}",
            "a positive number",
            scale,
        )


@dataclass(frozen=True, slots=True)
class SftConfig:
    """Everything a run depends on. Recipes return complete ones; every field can be set on the
    command line.

    `silence_weight` weighs the tokens of silent turns in the loss (1: as the paper; 0: silence is
    not trained). `decision_format`: how silence is said (`render.layout`); None takes that of the
    model, and text for a new one. `micro_batch_size` splits a batch for memory without changing the
    gradient. `max_tokens` cuts a longer dialogue at the last whole exchange.
    `final_learning_rate_frac`: where the cosine schedule ends, relative to its peak.
    `skip_bad_rows`: a row of a file that cannot be used is left out and counted, and the next one
    takes its place; else it stops the run. Raises ConfigError for a value out of range.
    """

    model: str
    stages: tuple[Stage, ...]
    decision_format: DecisionName | None = None
    frame_interval_s: float = 2.0
    frames_per_turn: int = 2
    max_pixels: int | None = None
    learning_rate: float = 1e-5
    warmup_frac: float = 0.05
    final_learning_rate_frac: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    silence_weight: float = 1.0
    max_tokens: int = 10_000
    micro_batch_size: int = 1
    freeze_vision: bool = True
    freeze_merger: bool = False
    gradient_checkpointing: bool = True
    device: str | None = None
    param_dtype: str = "float32"
    autocast_dtype: str | None = None
    num_workers: int = 1
    skip_bad_rows: bool = False
    seed: int = 0
    log_every_steps: int = 20
    save_every_steps: int = 200
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        require(len(self.stages) > 0, "stages", "at least one stage", self.stages)
        check_run(self)
        require_not_negative(self, "silence_weight")
        require_frac(self, "warmup_frac")

    @property
    def steps_of_stages(self) -> tuple[int, ...]:
        """How many steps each stage takes."""
        return tuple(stage_steps(stage) for stage in self.stages)

    @property
    def lighter(self) -> tuple[str, ...]:
        return lighter_steps(self)

    @property
    def smaller_flags(self) -> str:
        return "--max-pixels, --max-tokens or --frames-per-turn"

    def with_steps_of(self, other: SftConfig) -> SftConfig:
        """These settings with the numbers of steps of `other`, stage by stage."""
        pairs = zip(self.stages, other.stages, strict=False)
        stages = [replace(own, num_steps=given.num_steps) for own, given in pairs]
        return replace(self, stages=(*stages, *self.stages[len(stages) :]))

    def row_checks(self) -> Iterator[Check]:
        """A call for every row of the files of all stages."""
        sources = {each: None for stage in self.stages for each in files_of(stage.source)}
        return source_checks(tuple(sources), Clock(self.frame_interval_s))


def stage_steps(stage: Stage) -> int:
    """How many optimiser steps a stage takes. Raises ConfigError for an endless source without
    `num_steps`."""
    if stage.num_steps is not None:
        return stage.num_steps
    rows = rows_of(stage.source) if has_end(stage.source) else None
    if rows is not None:
        return max(1, math.ceil(len(rows) / stage.batch_size))
    raise ConfigError(f"stage {stage.name!r} reads an endless source; give it num_steps")


def learning_rate_at(config: SftConfig, step: int, total: int, scale: float) -> float:
    """Linear warm-up, then cosine to `final_learning_rate_frac`; `step` counts from 0, of
    `total`."""
    warmup = max(1, round(config.warmup_frac * total))
    share = config.final_learning_rate_frac
    return scheduled_rate(
        config.learning_rate * scale, step, total, warmup=warmup, final_frac=share
    )
