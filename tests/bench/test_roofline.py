"""The arithmetic of the roofline, against figures worked out by hand for Qwen2.5-VL-3B in
bfloat16."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from bench_support import tiny
from torch.utils.flop_counter import FlopCounterMode

from oncue.bench.models import SHAPE_3B, config_of
from oncue.bench.roofline import Chip, Work, chip_of, measured_chip, work_of
from oncue.model import linear
from oncue.model.loading import load_model
from tiny_model import FAMILIES, build_tiny_model

NUM_PATCHES, NUM_NEW = 512, 142  # a frame of 128 vision tokens, a silent turn
H100, H200 = Chip("H100", 3.35e12, 989e12, True), Chip("H200", 4.8e12, 989e12, True)
A100 = Chip("A100", 2.04e12, 312e12, True)


@pytest.fixture(scope="module")
def work() -> Work:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VLForConditionalGeneration,
    )

    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(SHAPE_3B, tiny("silent").renderer))
    return work_of(model, NUM_PATCHES, bytes_per_weight=2)


def test_bytes_of_weights_and_keys(work: Work) -> None:
    assert (
        work.text_weight_bytes == 2 * 3_085_938_688
    )  # decoder and output layer, which is the embedding
    assert work.vision_weight_bytes == 2 * 668_684_288
    assert work.kv_bytes_per_token == 36_864


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_costs_what_torch_counts(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        linear, "MIN_PRODUCTS", 1 << 60
    )  # torch does not count products made in oneDNN
    model = load_model(build_tiny_model(tmp_path, family=family), "cpu").model
    model.set_attn_implementation("eager")  # torch cannot see what happens inside a fused kernel
    grid, num_tokens = (1, 8, 12), 11
    num_patches = prod(grid)
    work = work_of(model, num_patches, bytes_per_weight=4)
    ids = torch.arange(num_tokens)[None]
    vision = model.config.vision_config
    patches = torch.ones(
        num_patches, vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    )
    with torch.no_grad():
        kept = model(input_ids=ids, use_cache=True).past_key_values
        with FlopCounterMode(display=False) as told:
            model(input_ids=ids, logits_to_keep=1)
        with FlopCounterMode(display=False) as shown:
            model.model.get_image_features(patches, torch.tensor([grid]))
    num_bytes = sum(layer.keys.nbytes + layer.values.nbytes for layer in kept.layers)
    assert work.kv_bytes_per_token == num_bytes / num_tokens
    assert work.text_flops(num_tokens, num_tokens) == pytest.approx(
        told.get_total_flops(), rel=0.02
    )
    assert work.vision_flops == pytest.approx(shown.get_total_flops(), rel=0.03)


@pytest.mark.parametrize(("num_context", "tera"), [(2_048, 1.54), (8_192, 1.80), (32_768, 2.83)])
def test_operations_per_decision(work: Work, num_context: int, tera: float) -> None:
    assert work.vision_flops / 1e12 == pytest.approx(0.667, abs=0.005)
    assert (work.vision_flops + work.text_flops(NUM_NEW, num_context)) / 1e12 == pytest.approx(
        tera, abs=0.01
    )


@pytest.mark.parametrize(
    ("chip", "least_ms"), [(H200, 2.0), (H100, 2.6), (A100, 5.8)], ids=["H200", "H100", "A100"]
)
def test_one_stream_is_limited_by_reading_the_weights(
    work: Work, chip: Chip, least_ms: float
) -> None:
    assert 1000 * work.seconds(chip, 1, NUM_NEW, 8_192) == pytest.approx(least_ms, abs=0.05)


def test_many_streams_are_limited_by_arithmetic(work: Work) -> None:
    assert 64 / work.seconds(H200, 64, NUM_NEW, 8_192) == pytest.approx(550, abs=2)
    slow = Chip("slow arithmetic", H200.bytes_per_s, H200.flops_per_s / 2, True)
    assert work.seconds(slow, 64, NUM_NEW, 8_192) == pytest.approx(
        2 * work.seconds(H200, 64, NUM_NEW, 8_192)
    )


def test_an_unknown_chip_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = measured_chip("this machine", torch.device("cpu"), side=64, num_bytes=1 << 16)
    assert not chip.published
    assert chip.bytes_per_s > 0
    assert chip.flops_per_s > 0
    for name, bytes_per_s in (("NVIDIA H200", 4.8e12), ("NVIDIA H100 80GB HBM3", 3.35e12)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device, name=name: name)
        known = chip_of(torch.device("cuda"))
        assert (known.name, known.bytes_per_s, known.published) == (name, bytes_per_s, True)
