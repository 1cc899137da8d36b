"""The measures of exactness say 0 for the engine as it is, and see it when it is broken."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from bench_support import TINY_SETTINGS, TINY_SHAPE, tiny

import oncue.engine.lookahead as ahead_module
from oncue.bench.exact import compare_tokens, dialogues, max_logit_diff
from oncue.bench.models import SHAPE_15M, random_model
from oncue.bench.speed import carried_turns
from oncue.engine.kv_cache import Rows
from oncue.engine.session import SessionState
from oncue.render.positions import mrope_positions


def test_the_engine_is_exact() -> None:
    loaded = tiny("mixed")
    assert 0 < asyncio.run(max_logit_diff(loaded, TINY_SETTINGS, 0)) <= 1e-4
    compared = asyncio.run(compare_tokens(loaded, TINY_SETTINGS, 0))
    assert compared.num_mismatched == 0
    assert compared.num_turns == TINY_SETTINGS.num_compared_turns
    assert compared.num_tokens >= compared.num_turns


def test_all_kinds_of_drafts_are_compared() -> None:
    """Drafts that hold and drafts that do not: the model on which the figure is measured sees
    both."""
    loaded = random_model(SHAPE_15M, "mixed", torch.device("cpu"))
    compared = asyncio.run(compare_tokens(loaded, replace(TINY_SETTINGS, num_compared_turns=24), 0))
    assert compared.num_mismatched == 0
    assert 0 < compared.num_silent < compared.num_turns


def gap(*args: object) -> tuple[np.ndarray, int]:
    """Positions with a gap of one after each turn."""
    positions, following = mrope_positions(*args)  # type: ignore[arg-type]
    return positions, following + 1


def test_wrong_positions_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("mixed")
    monkeypatch.setattr(ahead_module, "mrope_positions", gap)
    assert asyncio.run(max_logit_diff(loaded, TINY_SETTINGS, 0)) > 1e-2


def shuffle_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token's values are written to the place of the next."""
    write = Rows.write

    def shuffled(rows: Rows, layer: int, keys_JTD: torch.Tensor, values_JTD: torch.Tensor) -> None:
        write(rows, layer, keys_JTD, values_JTD.roll(1, dims=1))

    monkeypatch.setattr(Rows, "write", shuffled)


def test_a_corrupted_cache_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("mixed")
    shuffle_cache(monkeypatch)
    assert asyncio.run(max_logit_diff(loaded, TINY_SETTINGS, 0)) > 1e-2


def test_a_draft_that_stays_in_the_cache_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain decoding never forgets anything, so only the drafted sessions go wrong."""
    loaded = tiny("mixed")
    monkeypatch.setattr(SessionState, "keep", lambda *_: None)
    assert asyncio.run(compare_tokens(loaded, TINY_SETTINGS, 0)).num_mismatched > 0


def test_what_is_timed_against_the_stock_loop_is_the_same_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = replace(
        TINY_SHAPE, vocab_size=768
    )  # no ids without a text, which only our engine never chooses
    loaded = random_model(
        shape, "mixed", torch.device("cpu"), seed=1
    )  # which speaks in what is timed
    carried = asyncio.run(carried_turns(loaded, TINY_SETTINGS, 0))
    assert carried.num_same_answers == 3
    assert carried.num_silent < carried.num_timed
    assert set(carried.reprefill_ms) == set(carried.incremental_ms) == {10, 50, 200}
    shuffle_cache(monkeypatch)
    assert asyncio.run(carried_turns(loaded, TINY_SETTINGS, 0)).num_same_answers < 3


def test_compared_dialogues_differ_in_length() -> None:
    lengths = [len(shown) for shown in dialogues(1000, 8, 0)]
    assert sum(lengths) == 1000
    assert len(lengths) > 16
    assert max(lengths) > 3 * min(lengths)
