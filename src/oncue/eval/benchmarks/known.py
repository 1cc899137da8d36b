"""The benchmarks of proactive models: their names, and where each is. It imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from oncue.eval.streams.benchmark import StreamBenchmark

KNOWN = {
    "proactivevideoqa": ("oncue.eval.benchmarks.proactivevideoqa", "ProactiveVideoQa"),
    "omnimmi": ("oncue.eval.benchmarks.omnimmi", "OmniMmi"),
}


def known_benchmark(name: str) -> StreamBenchmark[Any]:
    """The benchmark of that name, in its default variant. Raises KeyError for another name."""
    module, class_name = KNOWN[name]
    benchmark: StreamBenchmark[Any] = getattr(import_module(module), class_name)()
    return benchmark
