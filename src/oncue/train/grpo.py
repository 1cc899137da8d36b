"""Multi-turn GRPO (paper section 4.3): groups of rollouts, their rewards, and a step towards the better ones.

The loop reads top to bottom: build, resume; then roll out, judge, compare, update, log, save. Engine and trainer share
the weights, so rollouts are those of the policy that is trained. Every random number follows from the seed and
the step, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from oncue.clock import Clock
from oncue.files import write_text
from oncue.hub import resolve_model
from oncue.policy.choose import banned_tokens
from oncue.policy.engine import Engine
from oncue.policy.model import LoadedModel, load_model
from oncue.policy.sampling import token_logprobs
from oncue.reward.base import Reward
from oncue.train.advantage import group_advantages
from oncue.train.ahead import made_ahead
from oncue.train.checkpoint import Progress, latest_checkpoint, load_progress, not_finite, save_checkpoint, side_files
from oncue.train.examples import RolloutExample
from oncue.train.grpo_metrics import rollout_lines, step_metrics, warnings_of
from oncue.train.grpo_settings import GrpoConfig
from oncue.train.losses import trained_logits
from oncue.train.policy_loss import PolicyLoss, policy_loss
from oncue.train.rl_samples import PolicyBatch, PolicySample, collate_policy, policy_samples
from oncue.train.rollouts import Group, roll_out
from oncue.train.run_dir import RunDirectory
from oncue.train.token_budget import check_token_budget
from oncue.train.trainable import freeze, recompute_activations

__all__ = ["GrpoConfig", "train_grpo"]


def train_grpo(
    config: GrpoConfig, reward: Reward, out: Path, *, resume: bool, report: Callable[[dict[str, Any]], None]
) -> Path:
    """Runs or resumes reinforcement learning in the run directory `out`; returns the folder of the final model.

    `reward` scores episodes; what it raises (a judge that is down) stops the run after the last finished step, to be
    resumed. `report(metrics)` is called at every step. Raises ConfigError, ModelError and DataError as `train_sft`, and
    RunStoppedError when loss or gradient are not finite, or a checkpoint cannot be written.
    """
    run = RunDirectory.open(out, config, resume=resume)
    previous = latest_checkpoint(run.checkpoints) if resume else None
    source = previous or resolve_model(config.model)
    loaded = load_model(source, config.device, config.param_dtype, max_pixels=config.max_pixels)
    beside_weights = side_files(source, loaded.renderer)
    trainer = _Trainer(config, loaded, run.checkpoints)
    progress = load_progress(previous, trainer.optimizer) if previous else Progress(0)
    run.trim(progress.step)
    step, final = progress.step, previous
    torch.manual_seed(config.seed)
    with Engine(loaded, config.sampling, lockstep=True) as engine, asyncio.Runner() as runner:
        for examples in _examples(config, step):
            started_s = time.perf_counter()
            check_token_budget(examples, loaded.renderer, config.sampling.max_new_tokens, config.max_tokens)
            loaded.model.eval()
            groups = runner.run(roll_out(engine, examples, config.group_size, (config.seed, step)))
            rolled_s = time.perf_counter()
            groups = runner.run(_judge_all(groups, reward, config))
            judged_s = time.perf_counter()
            update = trainer.update(groups, step)
            engine.weights_changed()
            step += 1
            seconds = {
                "rollout_s": rolled_s - started_s,
                "judge_s": judged_s - rolled_s,
                "train_s": time.perf_counter() - judged_s,
            }
            metrics = {"step": step, "total_steps": config.num_steps, "stage": "grpo", **update}
            metrics |= step_metrics(groups) | seconds
            metrics["tokens_per_s"] = update["num_tokens"] / seconds["train_s"]
            metrics["warnings"] = warnings_of([*run.metrics()[-49:], metrics])
            if step % config.log_every_steps == 0 or step == config.num_steps:
                run.log(metrics)
                report(metrics)
            if step % config.store_every_steps == 0 or step == config.num_steps:
                lines = "".join(json.dumps(line) + "\n" for line in rollout_lines(groups, step))
                write_text(out / "rollouts" / f"step_{step:06d}.jsonl", lines)
            if step % config.save_every_steps == 0 or step == config.num_steps:
                keep = config.keep_checkpoints
                final = save_checkpoint(
                    run.checkpoints, loaded, trainer.optimizer, Progress(step), beside_weights, keep=keep
                )
    assert final is not None
    run.finish(config, final, step)
    return final


async def _judge_all(groups: Sequence[Group], reward: Reward, config: GrpoConfig) -> list[Group]:
    """Every group judged, all questions on the way at once; the judge limits its own rate."""
    return list(await asyncio.gather(*(_judged(group, reward, config) for group in groups)))


async def _judged(group: Group, reward: Reward, config: GrpoConfig) -> Group:
    """The group with the score of each member, and what it did better or worse than the others."""
    scores = tuple(await asyncio.gather(*(reward(episode) for episode in group.episodes)))
    advantages = group_advantages([s.total for s in scores], scale_by_deviation=config.scale_by_deviation)
    return replace(group, scores=scores, advantages=tuple(advantages.tolist()))


class _Trainer:
    """Weights, optimiser, and the update of one step."""

    def __init__(self, config: GrpoConfig, loaded: LoadedModel, checkpoints: Path) -> None:
        self.config, self.loaded, self.checkpoints = config, loaded, checkpoints
        freeze(
            loaded.model,
            freeze_vision=config.freeze_vision,
            freeze_merger=config.freeze_merger,
            patterns=config.frozen,
        )
        self.parameters = [p for p in loaded.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        if config.gradient_checkpointing:
            recompute_activations(loaded.model)
        self._reference = _reference(config, loaded)
        self._banned_V = banned_tokens(loaded).to(loaded.device)
        self._all_but_V = torch.ones_like(self._banned_V)
        self._all_but_V[sorted(loaded.renderer.decision.allowed(0) or ())] = False

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Learn from judged groups; returns what is logged. Raises RunStoppedError where a loss is not finite."""
        self.loaded.model.train()
        config = self.config
        rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        samples = [self._samples(group) for group in groups]
        size = len(groups) // config.updates_per_step
        totals: dict[str, float] = {}
        for first in range(0, len(groups), size):
            mine = [sample for group in samples[first : first + size] for sample in group]
            for name, value in self._one_update(mine, step).items():
                totals[name] = totals.get(name, 0.0) + value / config.updates_per_step
        num_tokens = sum(len(s.sample.token_ids_L) for group in samples for s in group)
        return {"learning_rate": rate, "num_tokens": num_tokens, **totals}

    def _samples(self, group: Group) -> list[PolicySample]:
        renderer = self.loaded.renderer
        patched = [renderer.frame_processor(pixels) for pixels in group.example.frames]
        return policy_samples(group.episodes, group.advantages, patched, renderer, renderer.proactive_system)

    def _one_update(self, samples: Sequence[PolicySample], step: int) -> dict[str, float]:
        """One optimiser step over `samples`; micro-batches do not change the gradient."""
        num_choices = sum(sample.num_choices for sample in samples)
        size = self.config.micro_batch_size
        losses = []
        for first in range(0, len(samples), size):
            batch = collate_policy(samples[first : first + size], self.loaded.renderer.endoftext_id)
            losses.append(self._backward(batch.to(self.loaded.device), num_choices))
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm))
        loss = sum(float(made.loss.detach()) for made in losses) / num_choices
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self.optimizer.zero_grad(set_to_none=True)
            raise not_finite(step + 1, loss, grad_norm, self.checkpoints)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "loss": loss,
            "grad_norm": grad_norm,
            "clip_share": sum(made.num_clipped for made in losses) / num_choices,
            "entropy": sum(made.sum_entropy for made in losses) / num_choices,
            "kl": sum(made.sum_kl for made in losses) / num_choices,
            "max_ratio_gap": max(made.max_ratio_gap for made in losses),
            "num_choices": float(num_choices),
        }

    def _backward(self, batch: PolicyBatch, num_choices: int) -> PolicyLoss:
        dtype = getattr(torch, self.config.autocast_dtype) if self.config.autocast_dtype else torch.float32
        with torch.autocast(self.loaded.device.type, dtype, enabled=self.config.autocast_dtype is not None):
            logprobs_TV, targets_T = self._logprobs(self.loaded.model, batch)
        reference_T = None
        if self._reference is not None:
            with torch.no_grad():
                reference_TV, _ = self._logprobs(self._reference, batch)
            reference_T = reference_TV.gather(1, targets_T[:, None])[:, 0]
        made = policy_loss(
            logprobs_TV, targets_T, batch.old_logprobs_T, batch.advantages_T, self.config.loss, reference_T
        )
        (made.loss / num_choices).backward()
        return made

    def _logprobs(self, model: Any, batch: PolicyBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probabilities (T, V) of the very distribution the sampler drew from, and the ids drawn (T,)."""
        logits_TV, targets_T, _ = trained_logits(model, batch.batch, self.loaded.renderer.image_pad_id)
        banned = self._banned_V
        if bool(batch.limited_T.any()):
            banned = torch.where(batch.limited_T[:, None], self._all_but_V, self._banned_V)
        return token_logprobs(logits_TV, self.config.sampling, banned), targets_T


def _reference(config: GrpoConfig, loaded: LoadedModel) -> Any:
    """The model the run started from, where the loss needs it."""
    if config.loss.kl_coefficient == 0:
        return None
    start = load_model(config.model, loaded.device, config.param_dtype, max_pixels=config.max_pixels)
    return start.model.requires_grad_(False)


def _examples(config: GrpoConfig, first: int) -> Iterator[list[RolloutExample]]:
    """The examples of every step from number `first` on, made in worker processes."""
    yield from made_ahead(partial(_examples_of_step, config, first), config.num_steps - first, config.num_workers)


def _examples_of_step(config: GrpoConfig, first: int, i: int) -> list[RolloutExample]:
    """Those of step `first + i`."""
    start = (first + i) * config.prompts_per_step
    clock = Clock(config.frame_interval_s)
    return [
        config.examples.item(index, config.seed, clock, config.frames_per_turn)
        for index in range(start, start + config.prompts_per_step)
    ]
