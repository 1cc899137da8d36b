"""Laws of made-up examples: ranges mean what they say, noise is put on, and supervised training has
seen none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.data.examples import WorldExamples
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel
from oncue.train.sft.batches import draw_dialogue
from oncue.train.sft.settings import Stage
from train_support import SHAPES, small_config

CLOCK = Clock(1.0)
SHORT = WorldExamples(worlds={"shapes": 1.0}, num_turns=(1, 1))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"num_turns": (0, 3)},
            r"num_turns must be a smallest \(>= 1\) and a largest number, got \(0, 3\)",
        ),
        ({"num_turns": (4, 3)}, r"num_turns must be .* got \(4, 3\)"),
        (
            {"history_turns": (-1, 3)},
            r"history_turns must be a smallest \(>= 0\) and a largest .* got \(-1, 3\)",
        ),
        ({"history_turns": (2, 1)}, r"history_turns must be .* got \(2, 1\)"),
    ],
)
def test_a_range_that_cannot_be_is_refused(given: dict[str, Any], told: str) -> None:
    WorldExamples(num_turns=(1, 1), history_turns=(0, 0))
    with pytest.raises(ConfigError, match=told):
        WorldExamples(**given)


def test_both_ends_of_a_range_are_drawn() -> None:
    ranged = replace(SHORT, num_turns=(1, 3), history_turns=(0, 2))
    drawn = [ranged.item(index, 0, CLOCK, 2) for index in range(40)]
    assert {len(example.turns) for example in drawn} == {1, 2, 3}
    assert {len(example.history) for example in drawn} == {0, 1, 2}


def test_noise_is_put_on_up_to_the_deviation_given() -> None:
    """Of each clip another, evenly drawn: the mean of 20 lies about half way."""
    footage, deviations = replace(SHORT, worlds={"footage": 1.0}), []
    for index in range(20):
        (clean,), (noisy,) = (
            replace(footage, pixel_noise=n).item(index, 0, CLOCK, 1).frames for n in (0.0, 20.0)
        )
        inside = (clean > 80) & (clean < 175)  # where nothing is cut off
        deviations.append(float((noisy.astype(int) - clean)[inside].std()))
    assert max(deviations) < 21
    assert 7 < float(np.mean(deviations)) < 13


def test_no_example_is_a_clip_of_supervised_training(tiny_loaded: LoadedModel) -> None:
    seeds, one_turn = (0, 1, 2, 500, 999), replace(SHAPES, num_turns=(1, 1))
    stages = tuple(Stage(str(number), one_turn, 1, 1) for number in range(5))
    trained = {
        draw_dialogue(
            small_config("x", stages=stages, seed=seed), stage, 0, tiny_loaded.renderer
        ).dialogue.dialogue_id
        for seed in seeds
        for stage in range(len(stages))
    }
    practised = {SHORT.item(0, seed, CLOCK, 1).task.task_id for seed in seeds}
    assert (len(trained), len(practised)) == (25, 5)
    assert trained.isdisjoint(practised)
    same = one_turn.item(0, 1_000_003, CLOCK, 1)[0].dialogue_id  # control: names are of one kind
    assert same in practised
