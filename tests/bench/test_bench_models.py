"""Laws of the random models: the silent one is silent whatever it is shown, the mixed one does
both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import islice

import pytest
import torch
from bench_support import TINY_SHAPE, tiny

from oncue.bench.models import SHAPE_3B, SHAPE_15M, Shape, config_of, random_model
from oncue.bench.turns import Held, hold, lively_video
from oncue.engine.engine import Engine, SamplingParams
from oncue.model.loading import LoadedModel


def held(loaded: LoadedModel, num_turns: int, seed: int = 0) -> Held:
    async def go() -> Held:
        with Engine(loaded, SamplingParams(max_new_tokens=6)) as engine, engine.open() as session:
            return await hold(session, islice(lively_video(seed), num_turns))

    return asyncio.run(go())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "shape", [TINY_SHAPE, replace(TINY_SHAPE, tied=True), SHAPE_15M], ids=["tiny", "tied", "15M"]
)
def test_a_silent_model_never_speaks(shape: Shape, seed: int) -> None:
    loaded = random_model(shape, "silent", torch.device("cpu"), seed=seed)
    assert held(loaded, 15, seed).num_silent == 15


def test_silence_comes_from_what_was_set_by_hand() -> None:
    loaded = tiny("silent")
    with torch.no_grad():
        loaded.model.model.language_model.layers[-1].mlp.down_proj.weight[:, :3] = 0
    assert held(loaded, 5).num_silent == 0


def test_a_mixed_model_is_silent_now_and_then_and_says_different_things() -> None:
    answers = [
        held(random_model(SHAPE_15M, "mixed", torch.device("cpu"), seed=s), 30, s) for s in (0, 1)
    ]
    assert 0 < sum(each.num_silent for each in answers) < 60
    for each in answers:
        said = {answer.token_ids for answer in each.answers}
        assert len(said) > 8
        assert len({len(ids) for ids in said}) > 2


def test_weights_follow_the_seed_and_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (tiny("mixed", seed=s).model.lm_head.weight for s in (3, 3, 4))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("shape", "num_params"), [(SHAPE_15M, 15_482_560), (SHAPE_3B, 3_754_622_976)]
)
def test_sizes(shape: Shape, num_params: int) -> None:
    """The large shape has exactly as many parameters as the published Qwen2.5-VL-3B."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VLForConditionalGeneration,
    )

    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(shape, tiny("silent").renderer))
    assert sum(weight.numel() for weight in model.parameters()) == num_params
