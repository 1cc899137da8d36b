"""Settings and models small enough for tests."""

from __future__ import annotations

from dataclasses import replace

import torch

from oncue.bench.bench_settings import QUICK, BenchSettings
from oncue.bench.models import SHAPE_1M, Behaviour, random_model
from oncue.model.loading import LoadedModel

TINY_SHAPE = replace(
    SHAPE_1M, name="tiny", hidden_size=64, mlp_size=128, num_layers=2, num_heads=2, num_kv_heads=1
)

TINY_SETTINGS: BenchSettings = replace(
    QUICK,
    num_near_turns=3,
    num_warm_turns=2,
    num_timed_turns=4,
    num_rounds=2,
    num_batch_sessions=1,
    num_logit_turns=12,
    num_compared_turns=40,
    num_joined_sessions=4,
    num_stream_turns=60,
    num_warm_stream_turns=20,
    stream_window_tokens=512,
    num_preprocessed=2,
    num_large_turns=20,
    num_large_rounds=3,
    num_large_streams=3,
    large_context_tokens=1200,
)


def tiny(behaviour: Behaviour, seed: int = 0) -> LoadedModel:
    """A random model of under half a million parameters on one thread of the CPU."""
    torch.set_num_threads(1)
    return random_model(TINY_SHAPE, behaviour, torch.device("cpu"), seed=seed)
