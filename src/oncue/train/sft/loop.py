"""Supervised fine-tuning: dialogues in, a model that follows the format out (paper section 4.2).

The loop reads top to bottom: build, resume, step, log, save. One process, one device.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from oncue.data.mixed_source import forget_files
from oncue.errors import ConfigError, DataError
from oncue.hub import resolve_model
from oncue.model.loading import LoadedModel, load_model
from oncue.render.decision import DecisionName
from oncue.stopping import Stopper
from oncue.train.checkpoint import (
    Progress,
    latest_checkpoint,
    load_progress,
    not_finite,
    save_checkpoint,
    side_files,
)
from oncue.train.ending import end, let_go
from oncue.train.forward import trained_logits, weighted_loss_sum
from oncue.train.log_to import LogName, RunLogs
from oncue.train.parallel import Ranks
from oncue.train.prefetch import lost_worker_reported
from oncue.train.run_dir import RunDirectory
from oncue.train.sft.batches import StepBatch, step_batches
from oncue.train.sft.meter import Meter
from oncue.train.sft.settings import SftConfig, Stage, learning_rate_at, stage_steps
from oncue.train.trainable import freeze, recompute_activations
from oncue.train.trial import Laps, Trial, at_once_s, stored_bytes

__all__ = ["NEW_MODEL", "SftConfig", "Stage", "learning_rate_at", "stage_steps", "train_sft"]

NEW_MODEL = "new"  # the `model` of a config whose run builds an untrained one first

BuildModel = Callable[[Path, int, DecisionName], Path]


@lost_worker_reported()
def train_sft(
    config: SftConfig,
    out: Path,
    *,
    resume: bool,
    allow_changed_data: bool = False,
    report: Callable[[dict[str, Any]], None],
    build_model: BuildModel | None = None,
    log_to: Sequence[LogName] = (),
) -> Path:
    """Runs or resumes training in the run directory `out`; returns the folder of the final model.

    `report(metrics)` is called at every logged step. `allow_changed_data` resumes with rows that
    were edited. `build_model(folder, seed, decision_format)` writes the untrained model that a
    config with `model` "new" starts from. `log_to`: where metrics go beside `metrics.jsonl`. Raises
    ConfigError for a config that contradicts the run it would resume or a run that is already
    there, ModelError and DataError for what it cannot use, and RunStoppedError when loss or
    gradient are not finite (the weights are then untouched by that step, and the last checkpoint
    stays usable), a checkpoint cannot be written, or memory runs out.

    Ctrl-C, SIGTERM and SIGHUP raise a KeyboardInterrupt that says where the run is saved. Whatever
    else ends the run in the middle of a step, the steps before it are saved, too; so is a step
    whose report cannot be written. A second signal does not wait for that.
    """
    if Ranks.of_environment().size > 1:
        raise ConfigError(
            "train sft uses one device; start it without torchrun (train grpo uses several)"
        )
    forget_files()
    stopper = Stopper(patient=True, second_leaves=True)
    with stopper.listening(), RunLogs(log_to) as logs:
        return _train(
            config,
            out,
            stopper,
            resume=resume,
            report=report,
            build_model=build_model,
            allow_changed_data=allow_changed_data,
            logs=logs,
        )


def _train(
    config: SftConfig,
    out: Path,
    stopper: Stopper,
    *,
    resume: bool,
    report: Callable[[dict[str, Any]], None],
    build_model: BuildModel | None,
    allow_changed_data: bool,
    logs: RunLogs,
) -> Path:
    total = sum(stage_steps(stage) for stage in config.stages)
    with stopper.interruptible():
        run = RunDirectory.open(
            out, config, resume=resume, allow_changed_data=allow_changed_data, logs=logs
        )
        previous = latest_checkpoint(run.checkpoints) if resume else None
        source = previous or _start_model(config, out, build_model)
        loaded, trained, optimizer = _ready(config, source)
        beside_weights = side_files(source, loaded.renderer)
        model, renderer = loaded.model, loaded.renderer
        progress = load_progress(previous, optimizer) if previous else Progress(0)
        run.log_from(progress.step, config)
        torch.manual_seed(config.seed)
        meter = Meter(run, report, config.log_every_steps, total, progress.unlogged)
    step = saved = progress.step
    final = previous
    frozen_for = -1

    def save() -> Path:
        now = Progress(step, meter.unlogged)
        return save_checkpoint(
            run.checkpoints,
            loaded,
            optimizer.state_dict(),
            now,
            beside_weights,
            keep=config.keep_checkpoints,
        )

    def keep_and_end(error: BaseException) -> NoReturn:
        let_go(error)
        optimizer.zero_grad(set_to_none=True)
        end(error, config, step, save() if step > saved else final)

    batches = step_batches(config, renderer, step)
    while step < total:
        try:
            with stopper.interruptible():
                batch, stage_index = next(batches)
                stage = config.stages[stage_index]
                if stage_index != frozen_for:
                    _freeze_for(model, config, stage)
                    frozen_for = stage_index
                loss = accumulate_gradient(
                    model, batch, renderer.image_pad_id, config, loaded.device
                )
                grad_norm = float(torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm))
        except (Exception, KeyboardInterrupt) as error:
            # Raised again: no weight has changed in this step
            keep_and_end(error)
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise not_finite(step + 1, loss, grad_norm, run.checkpoints)
        rate = learning_rate_at(config, step, total, stage.learning_rate_scale)
        for group in optimizer.param_groups:
            group["lr"] = rate
        try:
            optimizer.step()
        # raised again: memory for the optimiser's state is taken before a weight changes
        except Exception as error:
            keep_and_end(error)
        optimizer.zero_grad(set_to_none=True)
        step += 1
        try:
            meter.step(
                step,
                stage=stage.name,
                loss=loss,
                grad_norm=grad_norm,
                rate=rate,
                num_tokens=batch.num_tokens,
                num_cut=batch.num_cut,
                skipped=batch.skipped,
            )
        except OSError as error:  # raised again: the step is done, only its report went nowhere
            keep_and_end(error)
        if step % config.save_every_steps == 0 and step < total:
            final, saved = save(), step
    meter.flush(step)
    if final is None or step > saved:
        final = save()
    run.finish(config, final, step)
    return final


def try_first_step(config: SftConfig, source: Path) -> Trial:
    """What the first step of a run from the model in `source` takes. Nothing of it is kept.

    Raises ModelError and DataError as `train_sft`; what torch raises where memory runs out goes
    through.
    """
    loaded, trained, optimizer = _ready(config, source)
    laps = Laps(loaded.device)
    batch, stage_index = next(step_batches(replace(config, num_workers=0), loaded.renderer, 0))
    made_s = laps.next_s()
    _freeze_for(loaded.model, config, config.stages[stage_index])
    accumulate_gradient(loaded.model, batch, loaded.renderer.image_pad_id, config, loaded.device)
    torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
    optimizer.step()
    trained_s = laps.next_s()
    return Trial(
        at_once_s(made_s, trained_s, config.num_workers),
        batch.num_tokens,
        stored_bytes(loaded.model.parameters(), trained),
    )


def _ready(
    config: SftConfig, source: Path
) -> tuple[LoadedModel, Sequence[torch.nn.Parameter], torch.optim.Optimizer]:
    """The model in `source`, ready to be trained, its trained parameters, and their optimiser."""
    loaded = load_model(
        source,
        config.device,
        config.param_dtype,
        max_pixels=config.max_pixels,
        decision_name=config.decision_format,
    )
    freeze(loaded.model, freeze_vision=config.freeze_vision, freeze_merger=config.freeze_merger)
    loaded.model.train()
    if config.gradient_checkpointing:
        recompute_activations(loaded.model)
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    return loaded, trained, optimizer


def _freeze_for(model: Any, config: SftConfig, stage: Stage) -> None:
    """Freezes what the run and the stage freeze, and nothing else."""
    freeze(
        model,
        freeze_vision=config.freeze_vision,
        freeze_merger=config.freeze_merger,
        patterns=stage.frozen,
        patterns_of=f"stage {stage.name!r} freezes",
    )


def accumulate_gradient(
    model: Any, batch: StepBatch, image_pad_id: int, config: SftConfig, device: torch.device
) -> float:
    """Adds the gradient of the whole batch, normalised by its total weight however it is split;
    returns its loss.

    A batch of silent turns that `silence_weight` 0 takes out of the loss has loss 0 and no
    gradient. Raises DataError for a batch in which no turn is trained.
    """
    total_weight = sum(float(part.weights_C.sum()) for part in batch.parts)
    if total_weight == 0:
        if config.silence_weight > 0:
            raise DataError(
                "a batch has no trained turn; its rows need assistant messages without "
                '"loss": false'
            )
        return 0.0
    dtype = getattr(torch, config.autocast_dtype) if config.autocast_dtype else torch.float32
    loss_sum = 0.0
    for part in batch.parts:
        with torch.autocast(device.type, dtype, enabled=config.autocast_dtype is not None):
            logits_CV, targets_C, weights_C = trained_logits(model, part.to(device), image_pad_id)
        loss = weighted_loss_sum(logits_CV, targets_C, weights_C) / total_weight
        loss.backward()
        loss_sum += float(loss.detach())
    return loss_sum


def _start_model(config: SftConfig, out: Path, build_model: BuildModel | None) -> Path:
    """The folder of the model that training begins from."""
    if config.model != NEW_MODEL:
        return resolve_model(config.model)
    if build_model is None:
        raise ConfigError(
            f"model {NEW_MODEL!r} needs a recipe that builds one; name a model, or use --recipe "
            "mini"
        )
    folder = out / "new_model"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed start left behind may be half a model
    return build_model(folder, config.seed, config.decision_format or "text")
