"""The figures: their keys, what they are made of, and the command that shows them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from bench_support import TINY_SETTINGS, TINY_SHAPE, tiny

import oncue.bench.bench_settings as settings_module
import oncue.bench.engine_report as report_module
import oncue.bench.speed as speed_module
from oncue import cli
from oncue.bench.engine_report import NUM_STEPS, Subjects, measure
from oncue.bench.engine_table import rows_of, title_of
from oncue.bench.large import measure_large
from oncue.bench.memory import rss_growth_pct
from oncue.bench.process_memory import resident_bytes
from oncue.bench.roofline import Chip
from oncue.model.loading import load_model

CHIP = Chip("a chip", 1e12, 1e14, published=True)

KEYS = {
    "reprefill_ms": {"10", "50", "200"},
    "incremental_ms": {"10", "50", "200"},
    "reprefill_ratio_200": None,
    "silent_turn_plain_ms": None,
    "silent_turn_ms": None,
    "silent_ratio": None,
    "silent_turn_ahead_ms": None,
    "ahead_ratio": None,
    "decisions_per_s": {"1", "8", "32"},
    "batch_ratio_32": None,
    "max_logit_diff": None,
    "mismatched_tokens": None,
    "rss_growth_pct": None,
    "num_compared_turns": None,
    "num_stream_turns": None,
    "num_params": None,
    "num_threads": None,
    "preprocess_ms_per_frame": {"112x112", "1280x720"},
}


@pytest.fixture
def tiny_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command with models and settings of this test."""
    subjects = Subjects(tiny("silent"), tiny("mixed"), tiny("silent"), None)
    monkeypatch.setattr(report_module, "random_models", lambda *_: subjects)
    monkeypatch.setattr(settings_module, "QUICK", TINY_SETTINGS)


@pytest.mark.usefixtures("tiny_bench")
def test_the_command_prints_one_object_with_exactly_these_figures(tmp_path: Path, capsys) -> None:
    out = tmp_path / "results" / "engine.json"
    assert cli.main(["bench", "engine", "--quick", "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(printed)
    assert printed.count("\n") == 1
    assert json.loads(out.read_text("utf-8")) == figures
    for key, keys in KEYS.items():
        assert (set(figures[key]) if keys else None) == keys, key
    assert "cuda" not in figures
    assert figures["quick"] is True
    assert figures["silent_share"] == 1
    assert figures["num_reprefill_same_answers"] == 3
    assert figures["mismatched_tokens"] == 0
    assert figures["max_logit_diff"] <= 1e-4
    assert figures["num_compared_turns"] == TINY_SETTINGS.num_compared_turns
    ratio = figures["reprefill_ms"]["200"] / figures["incremental_ms"]["200"]
    assert figures["reprefill_ratio_200"] == pytest.approx(ratio)
    assert figures["ahead_ratio"] == pytest.approx(
        figures["silent_turn_ms"] / figures["silent_turn_ahead_ms"]
    )
    assert figures["silent_ratio"] == pytest.approx(
        figures["silent_turn_plain_ms"] / figures["silent_turn_ms"]
    )
    rates = figures["decisions_per_s"]
    assert figures["batch_ratio_32"] == pytest.approx(rates["32"] / rates["1"])
    shown = " ".join(row.name for row in rows_of(figures))
    assert all(key in shown for key in KEYS if not key.startswith("num_"))
    assert "tiny" in title_of(figures)


def test_a_checkpoint_that_speaks_is_measured_as_it_is(tiny_model_folder: Path) -> None:
    loaded = load_model(tiny_model_folder, device="cpu", dtype="float32")
    steps = count()
    settings = replace(TINY_SETTINGS, num_stream_turns=30, num_compared_turns=20)
    figures = measure(Subjects(loaded, loaded, loaded, None), settings, 0, lambda: next(steps))
    assert figures["model"] == str(tiny_model_folder)
    assert figures["silent_share"] == 0
    assert figures["mismatched_tokens"] == 0
    assert next(steps) == NUM_STEPS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seed", "-1"], "--seed"),
        (["--seed", "one"], "--seed"),
        (["--device", "gpu9"], "gpu9"),
        (["--dtype", "int8"], "int8"),
        (["--model", "no-such-folder"], "no-such-folder"),
        (["--out", "."], "--out"),
        (["--bogus"], "--bogus"),
    ],
)
def test_bad_values_are_one_line_and_exit_2(words: list[str], told: str, capsys) -> None:
    assert cli.main(["bench", "engine", "--quick", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err


def test_memory_that_grows_is_seen() -> None:
    readings = count(1000, 10)
    growth_pct = asyncio.run(
        rss_growth_pct(tiny("silent"), TINY_SETTINGS, 0, lambda: next(readings))
    )
    assert growth_pct > 10
    assert asyncio.run(rss_growth_pct(tiny("silent"), TINY_SETTINGS, 0, lambda: 1000)) == 0
    assert resident_bytes() > 10_000_000


def test_the_large_part_runs_on_any_device() -> None:
    """Its figures mean something only on an accelerator; that they come out right is seen on a
    small model."""
    large = asyncio.run(measure_large(tiny("silent"), CHIP, TINY_SETTINGS, 0))
    one, many = large["one_stream"], large["many_streams"]
    assert (one["num_turns"], one["num_silent"]) == (20, 20)
    assert (many["num_streams"], many["num_silent"]) == (3, 9)
    static = large["one_stream_static"]
    same = ("num_turns", "num_silent", "num_context_tokens", "num_new_tokens", "roofline_ms")
    assert {key: static[key] for key in same} == {key: one[key] for key in same}
    assert 800 <= one["num_context_tokens"] <= 1600
    assert many["num_context_tokens"] == pytest.approx(1200, rel=0.1)
    assert one["num_new_tokens"] == many["num_new_tokens"] == large["num_vision_tokens"] + 14
    assert one["p50_ms"] <= one["p95_ms"] <= one["max_ms"]
    per_token = TINY_SHAPE.num_layers * 2 * TINY_SHAPE.num_kv_heads * 32 * 4
    assert large["kv_bytes_per_token"] == per_token
    assert many["kv_bytes_per_stream"] >= per_token * many["num_context_tokens"]
    json.dumps(large, allow_nan=False)
    shown = {row.name: row.value for row in rows_of(FIGURES | {"cuda": large})}
    assert shown["cuda"] == "a chip"
    assert "left out" in rows_of(FIGURES | {"cuda": {"left_out": "it was left out"}})[-1].meaning


FIGURES = {
    **dict.fromkeys(KEYS, 1.0),
    **{key: dict.fromkeys(keys, 1.0) for key, keys in KEYS.items() if keys},
    **dict.fromkeys(
        (
            "silent_share",
            "silent_turn_tokens",
            "num_logit_turns",
            "num_compared_tokens",
            "stream_model",
        ),
        1,
    ),
}


def test_rates_count_every_turn_that_was_timed_and_no_other(monkeypatch) -> None:
    """A clock on which each stretch of turns lasts as many seconds as it has turns, whoever is in
    it."""
    now_s, held = [0.0], []

    async def hold_all(sessions, videos):
        assert len(sessions) == len(videos)
        held.append((len(sessions), len(videos[0])))
        now_s[0] += len(videos[0])

    monkeypatch.setattr(speed_module, "hold_all", hold_all)
    monkeypatch.setattr(speed_module.time, "perf_counter", lambda: now_s[0])
    settings = replace(TINY_SETTINGS, num_warm_turns=2, num_rounds=3, num_batch_sessions=4)
    rates = asyncio.run(speed_module.decisions_per_s(tiny("silent"), (1, 2, 8), settings, 0))
    assert rates == {1: 1, 2: 2, 8: 8}
    warm, timed = held[::2], held[1::2]
    assert [count for count, _ in timed] == [
        1,
        2,
        1,
        8,
        1,
        2,
        1,
    ]  # the small ones before and behind the large
    assert {num_turns for _, num_turns in warm} == {2}
    assert {num_turns for _, num_turns in timed} == {3}
