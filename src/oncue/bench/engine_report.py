"""All figures of `oncue bench engine`, measured one after the other in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from oncue import __version__
from oncue.bench.bench_settings import CUDA_SESSION_COUNTS, SESSION_COUNTS, BenchSettings
from oncue.bench.exact import compare_tokens, max_logit_diff
from oncue.bench.large import measure_large
from oncue.bench.memory import rss_growth_pct
from oncue.bench.models import SHAPE_1M, SHAPE_3B, SHAPE_15M, Shape, random_model
from oncue.bench.roofline import chip_of
from oncue.bench.speed import HD_PX, carried_turns, decisions_per_s, preprocess_ms, silent_turns
from oncue.bench.turns import SMALL_PX
from oncue.model.loading import LoadedModel, load_model, pick_device, pick_dtype
from oncue.render.base import frames_then_text
from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS, QwenVLRenderer
from oncue.types import Silence

NUM_STEPS = 7  # how often `measure` calls `on_step`


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """The models that are measured. A checkpoint is all of them; `large` is None where there is no
    accelerator."""

    silent: LoadedModel
    mixed: LoadedModel
    stream: LoadedModel
    large: Callable[[], LoadedModel] | None


def given_model(name: str, device: str | None, dtype: str | None) -> Subjects:
    """A checkpoint. Raises ModelError where it cannot be used, ConfigError for a device or dtype
    that cannot be."""
    loaded = load_model(name, device, dtype)
    return Subjects(
        loaded, loaded, loaded, (lambda: loaded) if loaded.device.type == "cuda" else None
    )


def random_models(
    device: str | None,
    dtype: str | None,
    seed: int,
    shape: Shape = SHAPE_15M,
    stream_shape: Shape = SHAPE_1M,
) -> Subjects:
    """Random weights: `shape` for most figures (float32 unless set otherwise), a smaller one for
    the long stream."""
    place = pick_device(device)
    kind = pick_dtype(dtype or "float32", place)

    def large() -> LoadedModel:
        kind = pick_dtype(dtype, place)
        return random_model(
            SHAPE_3B, "silent", place, kind, seed=seed, max_pixels=MMDUET2_MAX_PIXELS
        )

    return Subjects(
        random_model(shape, "silent", place, kind, seed=seed),
        random_model(shape, "mixed", place, kind, seed=seed),
        random_model(stream_shape, "silent", place, kind, seed=seed),
        large if place.type == "cuda" else None,
    )


def measure(
    subjects: Subjects,
    settings: BenchSettings,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The figures, ready for JSON. Raises what the engine raises: nothing is left out silently.

    Memory comes first, while nothing that was freed before can hide growth.
    """
    figures: dict[str, Any] = _about(subjects.silent, seed)
    growth_pct = asyncio.run(rss_growth_pct(subjects.stream, settings, seed))
    on_step()
    figures |= _speed(subjects.silent, settings, seed, on_step)
    figures |= _exactness(subjects.mixed, settings, seed)
    on_step()
    figures |= {
        "rss_growth_pct": growth_pct,
        "num_stream_turns": settings.num_stream_turns,
        "stream_model": subjects.stream.name,
        "preprocess_ms_per_frame": {
            f"{width}x{height}": preprocess_ms(subjects.silent, (height, width), settings, seed)
            for height, width in (SMALL_PX, HD_PX)
        },
    }
    on_step()
    if subjects.large is not None:
        figures["cuda"] = _large(subjects.large, settings, seed)
    on_step()
    return figures


def _large(load: Callable[[], LoadedModel], settings: BenchSettings, seed: int) -> dict[str, Any]:
    """The large model's figures, or why there are none: a GPU too small for it must not cost all
    that came before."""
    try:
        loaded = load()
        return asyncio.run(measure_large(loaded, chip_of(loaded.device), settings, seed))
    except torch.OutOfMemoryError as error:
        return {
            "left_out": (
                f"it does not fit into the memory of this GPU ({str(error).splitlines()[0]})"
            )
        }


def _about(loaded: LoadedModel, seed: int) -> dict[str, Any]:
    return {
        "oncue": __version__,
        "torch": torch.__version__,
        "model": loaded.name,
        "num_params": sum(weight.numel() for weight in loaded.model.parameters()),
        "num_vision_tokens": loaded.renderer.frame_processor.token_count(*SMALL_PX),
        "num_silence_tokens": len(loaded.renderer.silence_ids),
        "silent_turn_tokens": silent_turn_tokens(loaded.renderer),
        "device": str(loaded.device),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "num_threads": torch.get_num_threads(),
        "num_cpus": os.cpu_count(),
        "seed": seed,
    }


def silent_turn_tokens(renderer: QwenVLRenderer) -> int:
    """How many tokens a silent turn after another silent one adds to the context: one small frame
    and its answer."""
    silence = renderer.policy_turn_ids(Silence())
    grid = renderer.frame_processor(np.zeros((*SMALL_PX, 3), np.uint8)).grid
    shown = renderer.user_turn_ids(
        frames_then_text(1, ""), [grid], renderer.decision.lead_after(silence)
    )
    return len(shown) + len(renderer.decision.kept(silence))


def _speed(
    loaded: LoadedModel, settings: BenchSettings, seed: int, on_step: Callable[[], None]
) -> dict[str, Any]:
    carried = asyncio.run(carried_turns(loaded, settings, seed))
    on_step()
    silent = asyncio.run(silent_turns(loaded, settings, seed))
    on_step()
    counts = CUDA_SESSION_COUNTS if loaded.device.type == "cuda" else SESSION_COUNTS
    rates = asyncio.run(decisions_per_s(loaded, counts, settings, seed))
    on_step()
    return {
        "reprefill_ms": {str(turn): took_ms for turn, took_ms in carried.reprefill_ms.items()},
        "incremental_ms": {str(turn): took_ms for turn, took_ms in carried.incremental_ms.items()},
        "reprefill_ratio_200": carried.reprefill_ms[200] / carried.incremental_ms[200],
        "num_reprefill_same_answers": carried.num_same_answers,
        "silent_turn_plain_ms": silent.plain_ms,
        "silent_turn_ms": silent.drafted_ms,
        "silent_ratio": silent.plain_ms / silent.drafted_ms,
        "silent_turn_ahead_ms": silent.ahead_ms,
        "ahead_ratio": silent.drafted_ms / silent.ahead_ms,
        "silent_share": (carried.num_silent + silent.num_silent)
        / (carried.num_timed + silent.num_timed),
        "decisions_per_s": {str(n): rate for n, rate in rates.items()},
        "batch_ratio_32": rates[32] / rates[1],
    }


def _exactness(loaded: LoadedModel, settings: BenchSettings, seed: int) -> dict[str, Any]:
    compared = asyncio.run(compare_tokens(loaded, settings, seed))
    return {
        "max_logit_diff": asyncio.run(max_logit_diff(loaded, settings, seed)),
        "num_logit_turns": settings.num_logit_turns,
        "mismatched_tokens": compared.num_mismatched,
        "num_compared_turns": compared.num_turns,
        "num_compared_tokens": compared.num_tokens,
        "num_compared_silent": compared.num_silent,
        "compared_model": loaded.name,
    }
