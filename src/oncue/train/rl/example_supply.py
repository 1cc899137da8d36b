"""The examples of a run, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from oncue.clock import Clock
from oncue.data.bad_rows import first_usable
from oncue.data.examples import Example
from oncue.data.token_budget import check_token_budget
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.shrink import shrink_by
from oncue.train.parallel import Ranks
from oncue.train.prefetch import prefetched
from oncue.train.rl.settings import GrpoConfig


def examples_of(
    config: GrpoConfig, first: int, ranks: Ranks, renderer: QwenVLRenderer
) -> Iterator[list[Example]]:
    """This process's examples of every step from number `first` on, made in worker processes."""
    make = partial(examples_of_step, config, first, ranks, renderer)
    return prefetched(make, config.num_steps - first, config.num_workers)


def examples_of_step(
    config: GrpoConfig, first: int, ranks: Ranks, renderer: QwenVLRenderer, i: int
) -> list[Example]:
    """Those of step `first + i`."""
    start = (first + i) * config.prompts_per_step
    examples, clock = config.examples, Clock(config.frame_interval_s)
    shrink = shrink_by(renderer.frame_processor)

    def make(index: int) -> Example:
        example = examples.item(index, config.seed, clock, config.frames_per_turn, shrink)
        with examples.named(index):
            check_token_budget(example, renderer, config.sampling.max_new_tokens, config.max_tokens)
        return example

    made = (
        first_usable(make, index, examples.num_rows, skip=config.skip_bad_rows)
        for index in ranks.deal(range(start, start + config.prompts_per_step))
    )
    return [example.instead_of(wrong) for example, wrong in made]
