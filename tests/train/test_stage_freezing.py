"""What a stage freezes stays as it is, to the bit, and only while the stage lasts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oncue.errors import ConfigError
from oncue.train.sft.loop import train_sft
from train_support import silent, small_config, weights

FIRST_LAYER = "model.language_model.layers.0."


def run(folder: Path, model: Path, frozen: tuple[tuple[str, ...], tuple[str, ...]]) -> Path:
    config = small_config(model)
    stages = tuple(
        replace(stage, frozen=names) for stage, names in zip(config.stages, frozen, strict=True)
    )
    return train_sft(
        replace(config, stages=stages, weight_decay=0.1), folder, resume=False, report=silent
    )


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_frozen_in_all_stages_never_moves(tiny_model_folder, tmp_path):
    final = run(tmp_path / "run", tiny_model_folder, ((f"{FIRST_LAYER}*",), (f"{FIRST_LAYER}*",)))
    names = moved(weights(tiny_model_folder), weights(final))
    assert names
    assert not any("layers.0." in name and "visual" not in name for name in names)


def test_frozen_in_the_first_stage_moves_in_the_second(tiny_model_folder, tmp_path):
    final = run(tmp_path / "run", tiny_model_folder, ((f"{FIRST_LAYER}*",), ()))
    after_first = final.parent / "step_000004"
    first = moved(weights(tiny_model_folder), weights(after_first))
    second = moved(weights(after_first), weights(final))
    assert not any("layers.0." in name and "visual" not in name for name in first)
    assert any("layers.0." in name and "visual" not in name for name in second)


def test_a_name_that_no_parameter_has_is_refused(tiny_model_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"'one' freezes 'model\.eyes\.\*'.*no parameter"):
        run(tmp_path / "run", tiny_model_folder, (("model.eyes.*",), ()))


def test_a_stage_that_freezes_everything_is_refused(tiny_model_folder, tmp_path):
    with pytest.raises(ConfigError, match="nothing is left to train: stage 'one' freezes"):
        run(tmp_path / "run", tiny_model_folder, (("*",), ()))
