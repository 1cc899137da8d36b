"""Laws of the engine for every family of models: a carried session equals transformers' own forward
over its prefix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import oncue.engine.lookahead as ahead_module
from oncue.engine.encoder_cache import CachedFrame
from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.model_runner import ModelRunner
from oncue.model.known_families import family_of
from oncue.model.loading import LoadedModel
from oncue.render.positions import mrope_positions
from oncue.types import PolicyTurn
from policy_support import cached_against_stock, hold, say, shown

SHORT = SamplingParams(max_new_tokens=4)
WARM = SamplingParams(temperature=1.2, top_k=10, max_new_tokens=6, seed=3)


@pytest.fixture(scope="module")
def untouched(family_folder: Path, family_loaded: LoadedModel) -> LoadedModel:
    """The same model as transformers loads it, with nothing of ours in it."""
    kind = family_of(family_loaded.model.config.model_type).model_class()
    return replace(family_loaded, model=kind.from_pretrained(family_folder, dtype="float32").eval())


def test_cached_session_equals_one_full_forward_over_200_turns(
    family_loaded: LoadedModel, untouched: LoadedModel
) -> None:
    difference, num_other_choices, answers = cached_against_stock(
        family_loaded, shown(200), SHORT, untouched
    )
    assert difference <= 1e-4
    assert num_other_choices == 0
    assert {answer.forced_close for answer in answers} == {
        True,
        False,
    }  # cut short, and closed by the model


def gap(*args: object) -> tuple[np.ndarray, int]:
    """One position is left out after each turn."""
    positions, following = mrope_positions(*args)  # type: ignore[arg-type]
    return positions, following + 1


def linear(
    ids: np.ndarray, _grids: object, _pad: int, _merge: int, start: int
) -> tuple[np.ndarray, int]:
    """An image is laid out as text."""
    return np.tile(np.arange(start, start + len(ids)), (3, 1)), start + len(ids)


@pytest.mark.parametrize("mistake", [gap, linear])
def test_wrong_positions_are_noticed(
    family_loaded: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[..., tuple[np.ndarray, int]],
) -> None:
    monkeypatch.setattr(ahead_module, "mrope_positions", mistake)
    difference, num_other_choices, _ = cached_against_stock(family_loaded, shown(20), SHORT)
    assert difference > 1e-2
    assert num_other_choices > 0


@pytest.mark.parametrize("sampling", [SHORT, WARM], ids=["greedy", "sampled"])
def test_batched_and_drafted_equals_alone_and_plain(
    family_loaded: LoadedModel, sampling: SamplingParams
) -> None:
    streams = [shown(4 + 5 * k, seed=k) for k in range(4)]  # they leave one after the other

    async def together() -> list[list[PolicyTurn]]:
        engine = Engine(family_loaded, sampling)
        sessions = [engine.open(seed=k) for k in range(len(streams))]
        return list(
            await asyncio.gather(
                *(hold(s, turns) for s, turns in zip(sessions, streams, strict=True))
            )
        )

    alone = [
        say(Engine(family_loaded, sampling, draft=False), turns, k)[0]
        for k, turns in enumerate(streams)
    ]
    assert _ids(asyncio.run(together())) == _ids(alone)


def test_a_vision_token_of_every_depth_reaches_the_logits(
    family_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepStack: Qwen3-VL feeds the vision encoder into several layers; left out of one, the
    answers are others."""
    encode, num_depths = ModelRunner._encode, []

    def without_the_deepest(self: ModelRunner, frames: Sequence[CachedFrame]) -> None:
        encode(self, frames)
        for frame in frames:
            assert frame.features is not None
            num_depths.append(len(frame.features))
            frame.features[-1] = 0

    monkeypatch.setattr(ModelRunner, "_encode", without_the_deepest)
    difference, _, _ = cached_against_stock(family_loaded, shown(5), SHORT)
    assert difference > 1e-2
    deep = "deepstack_visual_indexes" in family_loaded.model.config.vision_config.to_dict()
    assert set(num_depths) == {3 if deep else 1}


def _ids(sessions: Sequence[Sequence[PolicyTurn]]) -> list[list[tuple[int, ...]]]:
    return [[answer.token_ids for answer in answers] for answers in sessions]
