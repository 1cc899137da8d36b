"""What a run of reinforcement learning will cost, found out before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from oncue.clock import Clock
from oncue.data.bad_rows import first_usable
from oncue.data.examples import Example
from oncue.data.token_budget import longest_rollout
from oncue.errors import ModelError
from oncue.hub import resolve_model
from oncue.out_of_memory import lack_of_memory
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.shrink import shrink_by
from oncue.scoring.score import Reward
from oncue.train.ending import less_memory
from oncue.train.parallel import Ranks
from oncue.train.rl.loop import try_first_step
from oncue.train.rl.settings import GrpoConfig, groups_per_process
from oncue.train.trial import Problem, Shortage, cost_lines

_NUM_LOOKED_AT = 8


def plan_rl(config: GrpoConfig, reward: Reward, out: Path | None = None) -> Iterator[str]:
    """How many rollouts and passes there are, and the tokens of the first examples against the
    limit.

    Where the tokenizer cannot be had, tokens are not counted. What keeps the run from starting is a
    `Problem`. Without one, and with the folder of the run in `out`, the first step is made and
    thrown away, and further lines say the time and the disk that the run needs. Raises DataError
    for examples that cannot be shown, ConfigError where several processes cannot share a step.
    """
    num_processes = Ranks.of_environment().size
    num_groups = groups_per_process(config, num_processes)
    num_prompts = config.num_steps * config.prompts_per_step
    yield (
        f"{config.num_steps:,} steps of {config.prompts_per_step} examples with "
        f"{config.group_size} rollouts each, "
        f"{num_prompts * config.group_size:,} rollouts in all"
    )
    if num_processes > 1:
        yield (
            f"each of {num_processes} processes takes {num_groups} of the "
            f"{config.prompts_per_step} groups of a step"
        )
    if num_rows := config.examples.num_rows:
        yield f"{num_rows:,} examples, each used {num_prompts / num_rows:.1f} times on average"
    try:
        renderer = QwenVLRenderer.from_pretrained(resolve_model(config.model), config.max_pixels)
    except ModelError as error:
        yield Problem(f"tokens are not counted: {error}")
        return
    said = _tokens(config, renderer)
    yield said
    if not isinstance(said, Problem) and out is not None:
        yield from _costs(config, num_groups, reward, out)


def _costs(config: GrpoConfig, num_groups: int, reward: Reward, out: Path) -> Iterator[str]:
    if num_groups < config.prompts_per_step and config.sharding == "full":
        yield "time and disk are not measured: with sharding full a step needs all processes"
        return
    try:
        trial = try_first_step(config, num_groups, reward)
    except (MemoryError, RuntimeError) as error:
        lack = lack_of_memory(error)
        if lack is None:
            raise
        yield Shortage(f"{lack} in the first step; {less_memory(config, None)}")
        return
    run_s = trial.seconds * config.num_steps
    num_stored = math.ceil(config.num_steps / config.store_every_steps)
    yield from cost_lines(
        config, trial, run_s, out, num_stored=num_stored, left_out=", without what a judge takes"
    )


def _tokens(config: GrpoConfig, renderer: QwenVLRenderer) -> str:
    clock, longest = Clock(config.frame_interval_s), []
    shrink = shrink_by(renderer.frame_processor)

    def make(index: int) -> Example:
        return config.examples.item(index, config.seed, clock, config.frames_per_turn, shrink)

    num = min(_NUM_LOOKED_AT, config.num_steps * config.prompts_per_step)
    for index in range(num):
        example, _ = first_usable(make, index, config.examples.num_rows, skip=config.skip_bad_rows)
        longest.append(longest_rollout(example, renderer, config.sampling.max_new_tokens))
    num_over = sum(tokens > config.max_tokens for tokens in longest)
    line = (
        f"rollouts of the first {num} examples have at most {min(longest):,} to {max(longest):,} "
        "tokens, the limit is "
        f"{config.max_tokens:,}; {num_over} are over it"
    )
    return Problem(f"{line}, and would stop the run") if num_over else line
