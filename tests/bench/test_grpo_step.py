"""What a step of GRPO costs: the figures fit each other, and bad values are one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from bench_support import tiny

from oncue import cli
from oncue.bench.grpo_step import GrpoStepSettings, measure_grpo_step
from oncue.bench.roofline import Chip
from oncue.recipes import grpo_recipe

CHIP = Chip("a chip", 1e12, 1e15, published=True)


def figures_of(**options: object) -> dict[str, object]:
    recipe = grpo_recipe("mmduet2-3b")
    config = replace(
        recipe,
        prompts_per_step=2,
        group_size=2,
        micro_batch_size=2,
        autocast_dtype=None,
        sampling=replace(recipe.sampling, max_new_tokens=4),
        num_steps=3,
        **options,  # type: ignore[arg-type]
    )
    settings = GrpoStepSettings(num_turns=3, num_steps=2, size_px=(56, 84))
    before = torch.get_rng_state()
    figures = measure_grpo_step(tiny("mixed"), config, settings, CHIP)
    torch.set_rng_state(before)
    return figures


def test_the_figures_fit_each_other() -> None:
    figures = figures_of()
    json.dumps(figures, allow_nan=False)
    assert (figures["num_rollouts"], figures["num_turns"], figures["frames_per_turn"]) == (4, 3, 2)
    rollout_s, train_s, step_s = (
        float(str(figures[name])) for name in ("rollout_s", "train_s", "step_s")
    )
    assert 0 < max(rollout_s, train_s) < step_s
    assert figures["decisions_per_s"] == pytest.approx(12 / rollout_s)
    assert figures["trained_tokens_per_s"] == pytest.approx(
        float(str(figures["num_trained_tokens"])) / train_s
    )
    at_least = (
        4 * 3 * 2 * int(str(figures["num_vision_tokens"]))
    )  # of every rollout all frames are trained behind
    assert float(str(figures["num_trained_tokens"])) > at_least
    assert figures["roofline_train_share"] == pytest.approx(
        float(str(figures["roofline_train_s"])) / train_s
    )
    assert float(str(figures["train_peak_bytes"])) > 1e7


def test_recomputed_activations_are_a_fourth_pass() -> None:
    kept, again = figures_of(gradient_checkpointing=False), figures_of()
    assert kept["num_trained_tokens"] == again["num_trained_tokens"]
    assert again["roofline_train_s"] == pytest.approx(4 / 3 * float(str(kept["roofline_train_s"])))


@pytest.mark.parametrize(
    ("words", "told"), [(["--group-size", "1"], "--group-size must be at least 2, got 1")]
)
def test_bad_values_are_one_line_and_exit_2(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "grpo", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_step_that_does_not_fit_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room for 2 GiB\nand much more")

    monkeypatch.setattr("oncue.bench.grpo_step.measure_grpo_step", full)
    assert cli.main(["bench", "grpo", "--device", "cpu"]) == 1
    told = capsys.readouterr().err
    assert "no room for 2 GiB); lower --micro-batch-size" in told
    assert "and much more" not in told
