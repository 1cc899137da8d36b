"""`oncue bench`: what the engine and a step of reinforcement learning cost, how exact they are, how
much they stand."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.errors import ConfigError, RunStoppedError
from oncue.files import prepare_folder, write_json
from oncue.terminal import console_on


@dataclass(frozen=True)
class BenchEngine:
    """Measure the engine on this machine: speed of a carried session, of silence and of batches,
    exactness, memory. By default on random weights of 15 M parameters; on a GPU also on those of a
    Qwen2.5-VL-3B.

    Example: oncue bench engine --quick
    """

    model: str | None = None
    """Measure this checkpoint instead: a model folder, a hub id (owner/name), or mini."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default float32 for the small random weights, and for the
    others what a GPU does best: bfloat16 there, float32 elsewhere."""

    seed: int = 0
    """Seed of weights and frames."""

    quick: bool = False
    """Fewer turns and repeats: well under a minute on two cores."""

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    out: Path | None = None
    """File for the same JSON."""

    def run(self) -> int:
        """Measure, show, write. Returns the exit code."""
        self._check()
        figures = self._measure()
        if self.out is not None:
            write_json(self.out, figures)
        if self.json:
            print(json.dumps(figures, ensure_ascii=False, allow_nan=False))
            return 0
        from oncue.bench.engine_table import rows_of, title_of
        from oncue.eval.table import TextTable

        rows = rows_of(figures)
        width = max(len(row.name) for row in rows)
        lines = tuple((f"{row.name:<{width}}  {row.meaning}", row.value) for row in rows)
        table = TextTable(title_of(figures), ("figure", "value"), lines)
        console = console_on(sys.stdout)
        console.print(
            table.rich() if console.is_terminal else table.plain(), markup=False, soft_wrap=True
        )
        return 0

    def _check(self) -> None:
        """What can be found wrong before anything slow is done. Raises ConfigError and
        InputError."""
        if self.seed < 0:
            raise ConfigError(f"--seed must not be negative, got {self.seed}")
        if self.out is not None:
            if self.out.is_dir():
                raise ConfigError(
                    f"--out must be a file, and {self.out} is a folder; give a name in it"
                )
            prepare_folder(self.out.parent)

    def _measure(self) -> dict[str, Any]:
        from oncue.bench.bench_settings import FULL, QUICK
        from oncue.bench.engine_report import NUM_STEPS, given_model, measure, random_models

        started_s = time.perf_counter()
        if self.model is not None:
            subjects = given_model(self.model, self.device, self.dtype)
        else:
            subjects = random_models(self.device, self.dtype, self.seed)
        with Progress("measuring", NUM_STEPS) as progress:
            figures = measure(subjects, QUICK if self.quick else FULL, self.seed, progress.step)
        return {**figures, "quick": self.quick, "took_s": time.perf_counter() - started_s}


@dataclass(frozen=True)
class BenchGrpo:
    """Measure steps of reinforcement learning (rollouts and update) on random weights, frames and
    rewards: time, tokens and peak memory. On a GPU the model has the shapes of Qwen2.5-VL-3B and
    the settings those of the recipe mmduet2-3b, elsewhere it has a million parameters in float32.

    Example: oncue bench grpo --json
    """

    prompts: int = 8
    """Examples per step."""

    group_size: int = 4
    """Rollouts of each."""

    turns: int = 20
    """Turns of a rollout."""

    frames_per_turn: int = 2
    """Frames of 128 vision tokens in each."""

    micro_batch_size: int = 4
    """Rollouts in one forward and backward pass; those of a group share what they begin with."""

    lookahead: int = 0
    """Silent turns that may share the forward of the one before them."""

    max_new_tokens: int = 32
    """The longest reply. With random weights many replies are that long."""

    reply_bias: float = -7.0
    """Added to the log-odds of replying: random weights hardly stay silent without. `silent_share`
    says how often they were."""

    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass. Without it a step takes more memory and less
    time."""

    steps: int = 3
    """Steps that are timed, after one that is not."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    seed: int = 0
    """Seed of weights, frames, rewards and samples."""

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Measure and show. Returns the exit code."""
        least = {
            "prompts": 1,
            "turns": 1,
            "frames_per_turn": 1,
            "micro_batch_size": 1,
            "max_new_tokens": 1,
            "steps": 1,
        }
        check_smallest(self, **least, group_size=2, lookahead=0, seed=0)
        figures = self._measure()
        if self.json:
            print(json.dumps(figures, allow_nan=False))
        else:
            print("\n".join(f"{name:<24} {value}" for name, value in figures.items()))
        return 0

    def _measure(self) -> dict[str, Any]:
        from dataclasses import replace

        import torch

        from oncue.bench.grpo_step import GrpoStepSettings, measure_grpo_step
        from oncue.bench.models import SHAPE_1M, SHAPE_3B, random_model
        from oncue.bench.roofline import chip_of
        from oncue.model.loading import pick_device
        from oncue.recipes import grpo_recipe
        from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS

        place = pick_device(self.device)
        on_gpu = place.type == "cuda"
        recipe = grpo_recipe("mmduet2-3b")
        config = replace(
            recipe,
            prompts_per_step=self.prompts,
            group_size=self.group_size,
            frames_per_turn=self.frames_per_turn,
            micro_batch_size=self.micro_batch_size,
            lookahead=self.lookahead,
            sampling=replace(recipe.sampling, max_new_tokens=self.max_new_tokens),
            gradient_checkpointing=self.gradient_checkpointing,
            autocast_dtype=recipe.autocast_dtype if on_gpu else None,
            num_steps=1 + self.steps,
            seed=self.seed,
        )
        loaded = random_model(
            SHAPE_3B if on_gpu else SHAPE_1M,
            "mixed",
            place,
            getattr(torch, config.param_dtype),
            seed=self.seed,
            max_pixels=MMDUET2_MAX_PIXELS,
        )
        settings = GrpoStepSettings(self.turns, self.steps, self.reply_bias)
        try:
            with Progress("measuring", 1 + self.steps) as progress:
                return measure_grpo_step(
                    loaded, config, settings, chip_of(place) if on_gpu else None, progress.step
                )
        except torch.OutOfMemoryError as error:
            raise RunStoppedError(
                f"the step does not fit into the memory of {place} ({str(error).splitlines()[0]}); "
                "lower --micro-batch-size, --prompts or --turns"
            ) from error


@dataclass(frozen=True)
class BenchSoak:
    """Open, feed, cancel and kill sessions at random for a while, each checked against the same
    dialogue held alone. Exit code 1 if anything leaked, stuck, failed or differed, or if all
    answers were the same.

    Example: oncue bench soak --minutes 10 --sessions 200
    """

    minutes: float = 10.0
    """How long."""

    sessions: int = 200
    """How many sessions at a time."""

    model: str | None = None
    """A model folder, a hub id (owner/name), or mini, which ships with the package. By default a
    small one with random weights that speaks often: one that is nearly always silent would hardly
    show what goes wrong."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """By default float32: in bfloat16 another order of sums may settle a tie differently."""

    seed: int = 0
    """Seed of the videos and of what happens to each session."""

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Run and report. Returns the exit code."""
        import asyncio

        if not 0 < self.minutes < float("inf") or self.sessions < 1 or self.seed < 0:
            raise ConfigError(
                "--minutes must be above 0, --sessions at least 1 and --seed not negative, "
                f"got {self.minutes}, {self.sessions} and {self.seed}"
            )
        from oncue.bench.models import SHAPE_1M, random_model
        from oncue.bench.soak import SoakSettings, soak
        from oncue.model.loading import load_model, pick_device, pick_dtype

        place = pick_device(self.device)
        kind = pick_dtype(self.dtype or "float32", place)
        if self.model is None:
            loaded = random_model(SHAPE_1M, "mixed", place, kind, seed=self.seed)
        else:
            loaded = load_model(self.model, place, kind)
        settings = SoakSettings(60 * self.minutes, self.sessions)
        counts = asyncio.run(soak(loaded, settings, self.seed))
        figures = {
            "minutes": self.minutes,
            "sessions_at_a_time": self.sessions,
            "num_sessions": sum(counts.fates.values()),
            **{f"num_{fate}": num for fate, num in sorted(counts.fates.items())},
            "num_turns": counts.num_turns,
            "num_answers": counts.num_answers,
            "num_wrong": counts.num_wrong,
            "num_failed": counts.num_failed,
            "num_stuck": counts.num_stuck,
            "num_slots_left": counts.num_slots_left,
            "num_sessions_left": counts.num_sessions_left,
            "rss_growth_pct": counts.rss_growth_pct,
        }
        if self.json:
            print(json.dumps(figures))
        else:
            print("\n".join(f"{name:<20} {value:g}" for name, value in figures.items()))
        if counts.num_answers < 2:
            print(
                "oncue: all answers were the same, so this run could not have shown a fault",
                file=sys.stderr,
            )
        return 0 if counts.is_sound else 1
