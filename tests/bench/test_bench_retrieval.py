"""What retrieval episodes cost: the figures fit each other and the work, and bad values are one
line."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from bench_support import tiny

from oncue import cli
from oncue.bench.retrieval import RetrievalBenchSettings, lines_of, measure_retrieval, script
from oncue.env.retrieval import RetrievalSettings
from oncue.types import Answer, Retrieve

SMALL = RetrievalBenchSettings(3, 1, 5, 12, RetrievalSettings(4, 2, last_turns=None))


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    steps: list[None] = []
    found = asyncio.run(
        measure_retrieval(tiny("wordy"), SMALL, 0, on_step=lambda: steps.append(None))
    )
    assert len(steps) == 1 + 2 * SMALL.num_rounds
    return found


def test_the_figures_fit_each_other(figures: dict[str, Any]) -> None:
    json.dumps(figures, allow_nan=False)
    for way, prefix in ((figures["one_by_one"], "one_by_one"), (figures["batch"], "batch")):
        parts = [way[f"{name}_s"] for name in ("vision", "prefill", "decode", "other")]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(way["total_s"])
        assert sum(way[f"{name}_frac"] for name in ("vision", "prefill", "decode", "other")) == (
            pytest.approx(1)
        )
        assert figures[f"{prefix}_episodes_per_s"] == pytest.approx(3 / way["total_s"])
        assert way["decode_tokens_per_s"] == pytest.approx(
            way["num_decode_tokens"] / way["decode_s"]
        )
    assert figures["batch_speedup"] == pytest.approx(
        figures["one_by_one"]["total_s"] / figures["batch"]["total_s"]
    )
    bound = figures["batch_bound_by"]
    assert figures["batch"][f"{bound}_frac"] >= 0.25


def test_both_ways_do_the_same_work(figures: dict[str, Any]) -> None:
    """Every answer is as long as the limit, and closed by it: a token for each but the first, which
    comes with the turn. The batch takes as many steps as one episode."""
    one, batch = figures["one_by_one"], figures["batch"]
    assert figures["frames_per_turn"] == [4, 2, 2]
    assert figures["num_answer_tokens"] == 3 * 3 * (5 + 1)
    assert one["num_decode_tokens"] == batch["num_decode_tokens"] == 3 * 3 * 4
    assert one["num_prefill_tokens"] == batch["num_prefill_tokens"] == figures["num_prompt_tokens"]
    assert one["num_decode_steps"] == 3 * batch["num_decode_steps"]


def test_every_episode_looks_until_its_last_turn() -> None:
    for seed in range(20):
        *looks, answer = script(seed, SMALL)
        assert answer == Answer("B")
        assert len(looks) == 2
        for look in looks:
            assert isinstance(look, Retrieve)
            assert 0 <= look.start <= look.end <= 11


def test_figures_for_people(figures: dict[str, Any]) -> None:
    lines = lines_of(figures)
    assert any(line.startswith("batch_speedup ") for line in lines)
    assert sum(line.startswith("decode_s ") for line in lines) == 1
    assert all(len(line.split()) == 3 for line in lines if line.startswith("vision"))


@pytest.mark.parametrize(
    ("flag", "least"), [("--episodes", 1), ("--answer-tokens", 2), ("--rounds", 1)]
)
def test_bad_values_are_one_line_and_exit_2(
    flag: str, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "retrieval", flag, str(least - 1)]) == 2
    assert f"{flag} must be at least {least}, got {least - 1}" in capsys.readouterr().err
