"""What a step of GRPO costs: rollouts and update of a model of any size, their time, tokens and
memory.

Frames, texts and rewards are random, so nothing is learned that means anything; the work is that of
a real step in which every member has a gradient.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from oncue.aio import completed
from oncue.bench.large import LARGE_PX, peak_bytes, reset_peak
from oncue.bench.roofline import Chip, work_of
from oncue.bench.turns import one_turn, video
from oncue.data.examples import RolloutExample
from oncue.engine.engine import Engine
from oncue.model.loading import LoadedModel
from oncue.train.rl.advantage import num_turns, of_tokens
from oncue.train.rl.groups import Group, roll_out
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.rl.settings import GrpoConfig
from oncue.types import EnvTurn, Silence, Task

_FORWARD_AND_BACKWARD = 3  # a backward pass is twice the work of the forward
_RECOMPUTED = 1  # once more forward, with gradient checkpointing


@dataclass(frozen=True, slots=True)
class GrpoStepSettings:
    """`num_turns` of every rollout, each with the frames per turn of the run, of `size_px` (height,
    width); `num_steps` that are timed, after one that is not. `reply_bias` as in `SamplingParams`:
    random weights hardly ever stay silent without one. What is trained knows nothing of it, which
    changes numbers, and no work."""

    num_turns: int = 20
    num_steps: int = 3
    reply_bias: float = 0.0
    size_px: tuple[int, int] = LARGE_PX


def measure_grpo_step(
    loaded: LoadedModel,
    config: GrpoConfig,
    settings: GrpoStepSettings,
    chip: Chip | None,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The figures of `config` on `loaded` (whose weights it changes), ready for JSON; times are
    medians over the steps.

    `roofline_train_s` is the arithmetic of the update over the peak of `chip`: two operations per
    weight and token, three times for forward and backward, once more where activations are computed
    again; attention is left out, and what members share is counted for each.
    """
    trainer = PolicyTrainer(config, loaded, Path())
    dtype = getattr(torch, config.autocast_dtype) if config.autocast_dtype else None
    random = np.random.default_rng(config.seed)
    sampling = replace(config.sampling, reply_bias=settings.reply_bias)
    rollout_s, train_s, num_tokens, silent, replies = [], [], [], [], []
    rollout_bytes = train_bytes = 0
    with (
        Engine(
            trainer.loaded,
            sampling,
            lockstep=True,
            lookahead=config.lookahead,
            autocast_dtype=dtype,
            record=True,
        ) as engine,
        asyncio.Runner() as runner,
    ):
        for step in range(1 + settings.num_steps):
            examples = [_example(config, settings, step, i) for i in range(config.prompts_per_step)]
            reset_peak(loaded.device)
            started_s = time.perf_counter()
            with trainer.whole_model():
                rolled = roll_out(engine, examples, config.group_size, (config.seed, step))
                groups = completed(rolled, runner)
            _wait(loaded.device)
            rolled_s, rolled_bytes = time.perf_counter(), peak_bytes(loaded.device)
            engine.forget()
            reset_peak(loaded.device)
            made = trainer.update([_rewarded(group, random) for group in groups], step)
            _wait(loaded.device)
            trained_s, trained_bytes = time.perf_counter(), peak_bytes(loaded.device)
            on_step()
            if step:
                rollout_s.append(rolled_s - started_s)
                train_s.append(trained_s - rolled_s)
                num_tokens.append(made["num_tokens"])
                rollout_bytes, train_bytes = (
                    max(rollout_bytes, rolled_bytes),
                    max(train_bytes, trained_bytes),
                )
                said = [x.acted for group in groups for e in group.episodes for x in e.exchanges]
                silent += [isinstance(acted.action, Silence) for acted in said]
                replies += [
                    len(acted.token_ids) for acted in said if not isinstance(acted.action, Silence)
                ]
    num_rollouts = config.prompts_per_step * config.group_size
    num_frames = num_rollouts * settings.num_turns * config.frames_per_turn
    figures = {
        "model": loaded.name,
        "num_params": sum(weight.numel() for weight in loaded.model.parameters()),
        "device": str(loaded.device),
        "param_dtype": config.param_dtype,
        "autocast_dtype": config.autocast_dtype,
        "num_rollouts": num_rollouts,
        "num_turns": settings.num_turns,
        "frames_per_turn": config.frames_per_turn,
        "num_vision_tokens": loaded.renderer.frame_processor.token_count(*settings.size_px),
        "micro_batch_size": config.micro_batch_size,
        "lookahead": config.lookahead,
        "gradient_checkpointing": config.gradient_checkpointing,
        "num_steps": settings.num_steps,
        "reply_bias": settings.reply_bias,
        "silent_share": sum(silent) / len(silent),
        "mean_reply_tokens": sum(replies) / len(replies) if replies else None,
        "num_trained_tokens": median(num_tokens),
        "rollout_s": median(rollout_s),
        "train_s": median(train_s),
        "step_s": median(a + b for a, b in zip(rollout_s, train_s, strict=True)),
        "decisions_per_s": num_rollouts * settings.num_turns / median(rollout_s),
        "trained_tokens_per_s": median(num_tokens) / median(train_s),
        "rollout_peak_bytes": rollout_bytes,
        "train_peak_bytes": train_bytes,
    }
    if chip is None:
        return figures
    patched = loaded.renderer.frame_processor(np.zeros((*settings.size_px, 3), np.uint8))
    work = work_of(loaded.model, len(patched.patches), loaded.dtype.itemsize)
    forward = work.text_flops_per_token * median(num_tokens) + work.vision_flops * num_frames
    passes = _FORWARD_AND_BACKWARD + _RECOMPUTED * config.gradient_checkpointing
    limit_s = passes * forward / chip.flops_per_s
    return figures | {
        "chip": chip.name,
        "chip_flops_per_s": chip.flops_per_s,
        "roofline_train_s": limit_s,
        "roofline_train_share": limit_s / median(train_s),
    }


def _example(
    config: GrpoConfig, settings: GrpoStepSettings, step: int, number: int
) -> RolloutExample:
    """A segment of random frames, with a question at its beginning."""
    per_turn = config.frames_per_turn
    shown = video(1000 * step + number, settings.size_px)
    turns: list[EnvTurn] = []
    for k in range(settings.num_turns):
        frames = list(islice(shown, per_turn))
        pixels = np.concatenate([turn.frames.pixels for turn in frames])
        turns.append(one_turn(pixels, (k + 1) * per_turn * config.frame_interval_s, frames[0].text))
    return RolloutExample(Task("bench"), (), tuple(turns), number)


def _rewarded(group: Group, random: np.random.Generator) -> Group:
    """The group as if it had been judged: every member did better or worse than the others."""
    drawn = random.normal(size=len(group.episodes)).astype(np.float32)
    gained = [
        of_tokens(trace, np.full(num_turns(trace), g))
        for trace, g in zip(group.traces, drawn, strict=True)
    ]
    return replace(group, advantages=tuple(gained))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
