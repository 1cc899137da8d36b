"""A model of real size on an accelerator: one long stream, many streams at once, and the share of
the limit reached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from statistics import fmean, median, quantiles
from typing import Any

import torch

from oncue.bench.bench_settings import BenchSettings
from oncue.bench.process_memory import resident_bytes
from oncue.bench.roofline import Chip, Work, work_of
from oncue.bench.turns import hold, hold_all, video
from oncue.engine.engine import Engine, SamplingParams, StaticShapes, Window
from oncue.engine.session import EngineSession
from oncue.model.loading import LoadedModel
from oncue.types import EnvTurn

LARGE_PX = (224, 448)  # 128 vision tokens
_NUM_WARM_ROUNDS = 2


async def measure_large(
    loaded: LoadedModel, chip: Chip, settings: BenchSettings, seed: int
) -> dict[str, Any]:
    """The figures of `loaded` on `chip`, ready for JSON. A model that does not stay silent is
    measured as it is."""
    reset_peak(loaded.device)
    patched = loaded.renderer.frame_processor(next(video(seed, LARGE_PX)).frames.pixels[0])
    num_patches = len(patched.patches)
    work = work_of(loaded.model, num_patches, loaded.dtype.itemsize)
    return {
        "model": loaded.name,
        "num_params": sum(weight.numel() for weight in loaded.model.parameters()),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "num_vision_tokens": num_patches // loaded.renderer.merge_size**2,
        "chip": chip.name,
        "chip_bytes_per_s": chip.bytes_per_s,
        "chip_flops_per_s": chip.flops_per_s,
        "chip_figures": "published" if chip.published else "measured",
        "kv_bytes_per_token": work.kv_bytes_per_token,
        "one_stream": await _one_stream(loaded, chip, work, settings, seed),
        "one_stream_static": await _one_stream(loaded, chip, work, settings, seed, static=True),
        "many_streams": await _many_streams(loaded, chip, work, settings, seed),
        "peak_memory_bytes": peak_bytes(loaded.device),
    }


async def _one_stream(
    loaded: LoadedModel,
    chip: Chip,
    work: Work,
    settings: BenchSettings,
    seed: int,
    *,
    static: bool = False,
) -> dict[str, float]:
    """One bounded stream. Its prefix goes up and down between 2/3 and 4/3 of the context asked for.

    `max_ms` is a turn in which the prefix was cut. `flatness_pct`: how much slower the last tenth
    of the turns is than the first, by medians.
    """
    target = settings.large_context_tokens
    window = Window(4 * target // 3, 2 * target // 3)
    shapes = StaticShapes.for_one(window.max_tokens) if static else None
    took_ms: list[float] = []
    lengths, growths, num_silent = [], [], 0
    shown = video(seed, LARGE_PX)
    with (
        Engine(loaded, _sampling(settings), window=window, shapes=shapes) as engine,
        engine.open() as session,
    ):
        await _fill(session, shown, target)
        for turn in islice(shown, settings.num_large_turns):
            num_before = session.num_context_tokens
            held = await hold(session, [turn])
            took_ms += held.answer_ms
            num_silent += held.num_silent
            lengths.append(session.num_context_tokens)
            growths.append(session.num_context_tokens - num_before)
        num_kv_bytes = session.num_context_bytes
    tenth = -(-len(took_ms) // 10)
    num_context, num_new, p50_ms = round(fmean(lengths)), round(median(growths)), median(took_ms)
    limit_ms = 1000 * work.seconds(chip, 1, num_new, num_context)
    return {
        "num_turns": len(took_ms),
        "num_silent": num_silent,
        "num_context_tokens": num_context,
        "num_new_tokens": num_new,
        "p50_ms": p50_ms,
        "p95_ms": quantiles(took_ms, n=20, method="inclusive")[-1],
        "max_ms": max(took_ms),
        "flatness_pct": 100 * (median(took_ms[-tenth:]) / median(took_ms[:tenth]) - 1),
        "roofline_ms": limit_ms,
        "roofline_share": limit_ms / p50_ms,
        "kv_bytes_per_stream": num_kv_bytes,
    }


async def _many_streams(
    loaded: LoadedModel, chip: Chip, work: Work, settings: BenchSettings, seed: int
) -> dict[str, float]:
    """Streams of one past and different presents, about the context asked for in the middle of what
    is timed."""
    num_streams, num_rounds = settings.num_large_streams, settings.num_large_rounds
    past = video(seed, LARGE_PX)
    futures = [
        list(islice(video(seed + 1 + i, LARGE_PX), num_rounds + _NUM_WARM_ROUNDS))
        for i in range(num_streams)
    ]
    with Engine(loaded, _sampling(settings)) as engine, engine.open() as first:
        num_new = await _fill(first, past, 1)
        await _fill(
            first,
            past,
            settings.large_context_tokens - (num_rounds // 2 + _NUM_WARM_ROUNDS) * num_new,
        )
        sessions = [first, *(first.fork() for _ in range(num_streams - 1))]
        await hold_all(sessions, [shown[:_NUM_WARM_ROUNDS] for shown in futures])
        num_before, started_s = first.num_context_tokens, time.perf_counter()
        held = await hold_all(sessions, [shown[_NUM_WARM_ROUNDS:] for shown in futures])
        elapsed_s = time.perf_counter() - started_s
        num_context = (num_before + first.num_context_tokens) // 2
        num_new = round((first.num_context_tokens - num_before) / num_rounds)
        num_kv_bytes = first.num_context_bytes
        for session in sessions:
            session.close()
    limit_per_s = num_streams / work.seconds(chip, num_streams, num_new, num_context)
    reached_per_s = num_streams * num_rounds / elapsed_s
    return {
        "num_streams": num_streams,
        "num_rounds": num_rounds,
        "num_silent": sum(each.num_silent for each in held),
        "num_context_tokens": num_context,
        "num_new_tokens": num_new,
        "decisions_per_s": reached_per_s,
        "roofline_decisions_per_s": limit_per_s,
        "roofline_share": reached_per_s / limit_per_s,
        "kv_bytes_per_stream": num_kv_bytes,
    }


async def _fill(session: EngineSession, shown: Iterator[EnvTurn], num_tokens: int) -> int:
    """Show turns until the prefix has `num_tokens`, one at least. Returns how many tokens the last
    one added."""
    while True:
        num_before = session.num_context_tokens
        await hold(session, islice(shown, 1))
        if session.num_context_tokens >= num_tokens:
            return session.num_context_tokens - num_before


def _sampling(settings: BenchSettings) -> SamplingParams:
    return SamplingParams(max_new_tokens=settings.max_new_tokens)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_bytes()
