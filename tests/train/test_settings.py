"""Settings that cannot be are refused by name; the learning rate rises and falls as it should."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from oncue.data.dialogue_sources import RowSource, WorldSource
from oncue.data.examples import WorldExamples
from oncue.errors import ConfigError
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import Stage, learning_rate_at, stage_steps
from train_support import SHAPES, small_config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("frame_interval_s", -1.0),
        ("frames_per_turn", 0),
        ("warmup_frac", 1.5),
        ("final_learning_rate_frac", -0.1),
        ("silence_weight", -1.0),
        ("micro_batch_size", 0),
        ("num_workers", -1),
        ("keep_checkpoints", 0),
        ("save_every_steps", 0),
        ("autocast_dtype", "float64"),
        ("param_dtype", "bfloat16"),
        ("param_dtype", "float16"),
        ("stages", ()),
        ("betas", (2.0, 2.0)),
        ("betas", (0.9, math.nan)),
        ("seed", -1),
        ("seed", 10**20),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    small_config("x")  # the rest is fine
    with pytest.raises(ConfigError, match=name):
        small_config("x", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 10**20),
        ("betas", (0.9, 1.0)),
        ("warmup_steps", -1),
        ("learning_rate", math.inf),
        ("param_dtype", "bfloat16"),
    ],
)
def test_reinforcement_learning_refuses_the_same(name, value):
    GrpoConfig("x")  # the rest is fine
    with pytest.raises(ConfigError, match=name):
        GrpoConfig("x", **{name: value})


@pytest.mark.parametrize("name", ["clip_low", "clip_high", "kl_coefficient", "entropy_coefficient"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_loss_out_of_range_is_refused_by_name(name, value):
    LossSettings(**{name: 0.5})
    with pytest.raises(ConfigError, match=name):
        LossSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("num_steps", 0),
        ("learning_rate_scale", math.nan),
        ("learning_rate_scale", 0.0),
    ],
)
def test_a_stage_that_does_nothing_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        Stage("s", SHAPES, **{"batch_size": 1, "num_steps": 1, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_turns", (4, 3)),
        ("num_turns", (0, 3)),
        ("worlds", {}),
        ("worlds", {"sea": 1.0}),
        ("split", "dev"),
        ("turn_odds", (0.0, 0.0)),
        ("turn_odds", (1.0, -1.0)),
    ],
)
def test_a_world_that_does_not_exist_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        WorldSource(**{name: value})


@pytest.mark.parametrize("supply", [WorldSource, WorldExamples])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mean_gap_s", (0.0, -1.0, math.nan, math.inf)),
        ("empty_frac", (2.0, -0.1, math.nan)),
        ("pixel_noise", (-1.0, math.nan, math.inf)),
        ("worlds", ({"shapes": math.nan}, {"shapes": math.inf}, {"shapes": -1.0, "footage": 2.0})),
    ],
)
def test_clips_that_cannot_be_drawn_are_refused(supply, name, values):
    supply(mean_gap_s=0.1, empty_frac=1.0, pixel_noise=255.0)
    for value in values:
        with pytest.raises(ConfigError, match=name):
            supply(**{name: value})


def test_steps_of_a_stage(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n\n{}\n{}\n")
    assert stage_steps(Stage("s", RowSource((rows,)), 2)) == 2
    assert stage_steps(Stage("s", RowSource((rows,)), 2, num_steps=9)) == 9
    with pytest.raises(ConfigError, match="num_steps"):
        stage_steps(Stage("s", SHAPES, 2))
    with pytest.raises(ConfigError, match="no training file"):
        stage_steps(Stage("s", RowSource((Path("missing.jsonl"),)), 2))


def test_the_learning_rate_warms_up_then_follows_a_cosine():
    config = small_config("x", learning_rate=2.0, warmup_frac=0.1, final_learning_rate_frac=0.25)
    rates = [learning_rate_at(config, step, 100, 0.5) for step in range(101)]
    assert rates[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx((1 + 0.25) / 2)  # half of the way down
    assert rates[100] == pytest.approx(0.25)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_without_warm_up_the_first_step_has_the_peak():
    assert (
        learning_rate_at(small_config("x", learning_rate=3.0, warmup_frac=0.0), 0, 10, 1.0) == 3.0
    )


def test_weights_that_would_barely_train_are_refused_with_what_to_use_instead():
    weight = torch.tensor(0.02, dtype=torch.bfloat16)
    assert weight + 1e-5 == weight  # the reason: a step at the published rate
    with pytest.raises(ConfigError, match=r"AdamW .*--autocast-dtype bfloat16.*got 'bfloat16'"):
        small_config("x", param_dtype="bfloat16", learning_rate=1e-5)
