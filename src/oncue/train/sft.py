"""Supervised fine-tuning: dialogues in, a model that follows the format out (paper section 4.2).

The loop reads top to bottom: build, resume, step, log, save. Batches are addressed by (stage, step), so a killed run
that is resumed sees exactly the data it would have seen. One process, one device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.policy.model import load_model
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.train.checkpoint import Progress, latest_checkpoint, load_progress, save_checkpoint
from oncue.train.losses import trained_logits
from oncue.train.run_dir import RunDirectory
from oncue.train.samples import TrainingBatch, TrainingSample, collate, fit, to_sample
from oncue.train.sources import RowSource, Source


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training on one source. `num_steps` None: one epoch of a source that has an end."""

    name: str
    source: Source
    batch_size: int
    num_steps: int | None = None
    learning_rate_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class SftConfig:
    """Everything a run depends on. Recipes return complete ones; every field can be set on the command line.

    `silence_weight` weighs the tokens of silent turns in the loss (1: as the paper). `micro_batch_size` splits a batch
    for memory without changing the gradient. `max_tokens` cuts a longer dialogue at the last whole exchange.
    `final_learning_rate_share`: where the cosine schedule ends, relative to its peak.
    """

    model: str
    stages: tuple[Stage, ...]
    frame_interval_s: float = 2.0
    frames_per_turn: int = 2
    max_pixels: int | None = None
    learning_rate: float = 1e-5
    warmup_share: float = 0.05
    final_learning_rate_share: float = 0.0
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
    seed: int = 0
    log_every_steps: int = 20
    save_every_steps: int = 200
    keep_checkpoints: int = 2


class _Batches(torch.utils.data.Dataset):
    """Batch number i of a stage as micro-batches, made in a worker process."""

    def __init__(self, config: SftConfig, stage_index: int, renderer: QwenVLRenderer, first: int, count: int) -> None:
        self.config, self.stage_index, self.renderer = config, stage_index, renderer
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[list[TrainingBatch], int]:
        if i >= self.count:
            raise IndexError(i)
        torch.set_num_threads(1)
        stage = self.config.stages[self.stage_index]
        start = (self.first + i) * stage.batch_size
        samples, num_cut = [], 0
        for index in range(start, start + stage.batch_size):
            sample, was_cut = self._sample(stage, index)
            samples.append(sample)
            num_cut += was_cut
        size = self.config.micro_batch_size
        parts = [samples[k : k + size] for k in range(0, len(samples), size)]
        return [collate(part, self.renderer.endoftext_id) for part in parts], num_cut

    def _sample(self, stage: Stage, index: int) -> tuple[TrainingSample, bool]:
        config = self.config
        clock = Clock(config.frame_interval_s)
        seed = config.seed * 1000 + self.stage_index
        dialogue, frames = stage.source.item(index, seed, clock, config.frames_per_turn)
        patched = [self.renderer.frame_processor(frame) for frame in frames]
        kept = fit(dialogue, patched, self.renderer, config.max_tokens)
        sample = to_sample(kept, patched[: kept.num_frames], self.renderer, silence_weight=config.silence_weight)
        return sample, len(kept.turns) < len(dialogue.turns)


def stage_steps(stage: Stage) -> int:
    """How many optimiser steps a stage takes."""
    if stage.num_steps is not None:
        return stage.num_steps
    if isinstance(stage.source, RowSource):
        return max(1, math.ceil(len(stage.source) / stage.batch_size))
    raise ConfigError(f"stage {stage.name!r} reads an endless source; give it num_steps")


def learning_rate_at(config: SftConfig, step: int, total: int, scale: float) -> float:
    """Linear warm-up, then cosine to `final_learning_rate_share`; `step` counts from 0."""
    warmup = max(1, round(config.warmup_share * total))
    if step < warmup:
        return config.learning_rate * scale * (step + 1) / warmup
    share = config.final_learning_rate_share
    along = (step - warmup) / max(1, total - warmup)
    return config.learning_rate * scale * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * along)))


def freeze(model: Any, config: SftConfig) -> None:
    """Stops gradients into the vision tower and, separately, its merger."""
    for name, parameter in model.model.visual.named_parameters():
        frozen = config.freeze_merger if name.startswith("merger") else config.freeze_vision
        parameter.requires_grad_(not frozen)


def train_sft(
    config: SftConfig, out: Path, *, resume: bool, report: Callable[[dict[str, Any]], None], start: str | None = None
) -> Path:
    """Runs or resumes training in the run directory `out`; returns the folder of the final model.

    `report(metrics)` is called at every logged step; `start` is the model to begin from where it is not `config.model`. Raises ConfigError for a config that contradicts the run it
    would resume, RuntimeError when the loss is not finite (the last checkpoint stays usable).
    """
    run = RunDirectory.open(out, config, resume=resume)
    previous = latest_checkpoint(run.checkpoints) if resume else None
    name = str(previous or start or config.model)
    loaded = load_model(name, config.device, config.param_dtype, max_pixels=config.max_pixels)
    model, renderer = loaded.model, loaded.renderer
    freeze(model, config)
    model.train()
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    progress = load_progress(previous, optimizer) if previous else Progress(0)
    run.trim(progress.step)
    total = sum(stage_steps(stage) for stage in config.stages)
    torch.manual_seed(config.seed)
    meter = _Meter(run, report, config.log_every_steps, total)
    step = progress.step
    for batches, num_cut, stage in _batches_from(config, renderer, step):
        rate = learning_rate_at(config, step, total, stage.learning_rate_scale)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _accumulate(model, batches, renderer, config, loaded.device)
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the loss of step {step} is {loss}; the last checkpoint is {latest_checkpoint(run.checkpoints)}. "
                "Resume from it with a lower learning rate"
            )
        grad_norm = float(torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        meter.step(step, stage.name, loss, grad_norm, rate, sum(b.num_tokens for b in batches), num_cut)
        if step % config.save_every_steps == 0 and step < total:
            save_checkpoint(run.checkpoints, loaded, optimizer, Progress(step), keep=config.keep_checkpoints)
    meter.flush(step)
    final = save_checkpoint(run.checkpoints, loaded, optimizer, Progress(step), keep=config.keep_checkpoints)
    run.finish(config, final, step)
    return final


def _batches_from(
    config: SftConfig, renderer: QwenVLRenderer, step: int
) -> Iterator[tuple[list[TrainingBatch], int, Stage]]:
    """The batches of all stages in order, from global step `step` on."""
    for index, stage in enumerate(config.stages):
        count = stage_steps(stage)
        if step >= count:
            step -= count
            continue
        data = _Batches(config, index, renderer, step, count - step)
        loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=config.num_workers)
        for batches, num_cut in loader:
            yield batches, num_cut, stage
        step = 0


def _accumulate(
    model: Any, batches: Sequence[TrainingBatch], renderer: QwenVLRenderer, config: SftConfig, device: torch.device
) -> float:
    """Adds the gradient of the whole batch, normalised by its total weight however it is split; returns its loss."""
    total_weight = sum(float(b.weights_BL[:, 1:].sum()) for b in batches)
    dtype = getattr(torch, config.autocast_dtype) if config.autocast_dtype else torch.float32
    loss_sum = 0.0
    for batch in batches:
        with torch.autocast(device.type, dtype, enabled=config.autocast_dtype is not None):
            logits_TV, targets_T, weights_T = trained_logits(model, batch.to(device), renderer.image_pad_id)
        losses_T = torch.nn.functional.cross_entropy(logits_TV.float(), targets_T, reduction="none")
        loss = (losses_T * weights_T).sum() / total_weight
        loss.backward()
        loss_sum += float(loss.detach())
    return loss_sum


class _Meter:
    """Averages what is logged between two lines of `metrics.jsonl`."""

    def __init__(self, run: RunDirectory, report: Callable[[dict[str, Any]], None], every: int, total: int) -> None:
        self.run, self.report, self.every, self.total = run, report, every, total
        self.losses: list[float] = []
        self.tokens, self.cut, self.started = 0, 0, time.monotonic()
        self.last: dict[str, Any] = {}

    def step(self, step: int, stage: str, loss: float, grad_norm: float, rate: float, tokens: int, cut: int) -> None:
        self.losses.append(loss)
        self.tokens += tokens
        self.cut += cut
        self.last = {"stage": stage, "grad_norm": grad_norm, "learning_rate": rate}
        if step % self.every == 0:
            self.flush(step)

    def flush(self, step: int) -> None:
        if not self.losses:
            return
        seconds = time.monotonic() - self.started
        metrics = {
            "step": step,
            "total_steps": self.total,
            **self.last,
            "loss": sum(self.losses) / len(self.losses),
            "tokens_per_s": self.tokens / max(seconds, 1e-9),
            "num_cut_dialogues": self.cut,
        }
        self.run.log(metrics)
        self.report(metrics)
        self.losses, self.tokens, self.cut, self.started = [], 0, 0, time.monotonic()
