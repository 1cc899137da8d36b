"""Folders laid out like the released checkpoints load as the same model; what the engine would get
wrong is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from oncue.engine.engine import SamplingParams
from oncue.errors import ModelError
from oncue.model.loading import LoadedModel, check_folder, load_model
from policy_support import cached_against_stock, shown

Config = dict[str, Any]


def rewrite(folder: Path, change: Callable[[Config], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def as_released(config: Config) -> None:
    """Older names and places: rope_scaling, and, before Qwen3-VL, no section for the language
    model."""
    family, text = config["model_type"], config["text_config"]
    rope = text.pop("rope_parameters")
    text |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    config["vision_config"]["model_type"] = family
    if family != "qwen3_vl":
        rope["type"] = rope.pop("rope_type").replace("default", "mrope")
        config |= {
            key: value for key, value in config.pop("text_config").items() if key != "model_type"
        }


@pytest.fixture
def copied(family_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(family_folder, tmp_path / "model")


def test_a_released_config_gives_the_same_model(family_loaded: LoadedModel, copied: Path) -> None:
    rewrite(copied, as_released)
    turns, sampling = shown(6), SamplingParams(max_new_tokens=3)
    loaded = load_model(copied, device="cpu")
    assert loaded.max_positions == family_loaded.max_positions
    difference, num_other_choices, answers = cached_against_stock(loaded, turns, sampling)
    assert difference <= 1e-4
    assert num_other_choices == 0
    expected = cached_against_stock(family_loaded, turns, sampling)[2]
    assert [a.token_ids for a in answers] == [a.token_ids for a in expected]
    assert [a.logprobs for a in answers] == [a.logprobs for a in expected]


def test_an_output_layer_that_is_the_embedding_is_not_missing(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lack 1 tensors"):
        load_model(copied, device="cpu")  # control
    rewrite(copied, lambda config: config.update(tie_word_embeddings=True))
    model = load_model(copied, device="cpu").model
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize("kind", ["qwen3_vl_moe", "qwen3_5", "llava", None])
def test_other_architectures_are_refused_with_the_list_of_ours(
    copied: Path, kind: str | None
) -> None:
    rewrite(copied, lambda config: config.update(model_type=kind))
    with pytest.raises(
        ModelError, match=f"of type {kind!r}; expected one of qwen2_vl, qwen2_5_vl, qwen3_vl"
    ):
        check_folder(copied)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("use_sliding_window", True, "sliding-window"),
        ("rope_type", "dynamic", "rope type 'dynamic'"),
    ],
)
def test_attention_that_a_carried_cache_would_get_wrong_is_refused(
    copied: Path, released: bool, key: str, value: object, message: str
) -> None:
    def change(config: Config) -> None:
        text = config["text_config"]
        (text["rope_parameters"] if key == "rope_type" else text)[key] = value
        if released:
            as_released(config)

    rewrite(copied, change)
    with pytest.raises(ModelError, match=message):
        check_folder(copied)
