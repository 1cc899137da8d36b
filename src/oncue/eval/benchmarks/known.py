"""The benchmarks of proactive models: their names, and where each is. It imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from oncue.eval.streams.benchmark import StreamBenchmark

KNOWN = {
    "proactivevideoqa": ("oncue.eval.benchmarks.proactivevideoqa", "ProactiveVideoQa"),
    "omnimmi": ("oncue.eval.benchmarks.omnimmi", "OmniMmi"),
    "ovobench": ("oncue.eval.benchmarks.ovobench", "OvoBench"),
    "ovo-timing": ("oncue.eval.benchmarks.ovo_timing", "OvoTiming"),
    "streamingbench-po": ("oncue.eval.benchmarks.streamingbench_po", "StreamingBenchPo"),
    "estp": ("oncue.eval.benchmarks.estp", "Estp"),
    "interactionbench": ("oncue.eval.benchmarks.interactionbench", "InteractionBench"),
    "omnipro": ("oncue.eval.benchmarks.omnipro", "OmniPro"),
    "omnipro-probe": ("oncue.eval.benchmarks.omnipro_probe", "OmniProProbe"),
    "omniduplex": ("oncue.eval.benchmarks.omniduplex", "OmniDuplex"),
    "spot": ("oncue.eval.benchmarks.spot", "Spot"),
    "streampro": ("oncue.eval.benchmarks.streampro", "StreamPro"),
}


def known_benchmark(name: str) -> StreamBenchmark[Any]:
    """The benchmark of that name, in its default variant. Raises KeyError for another name."""
    module, class_name = KNOWN[name]
    benchmark: StreamBenchmark[Any] = getattr(import_module(module), class_name)()
    return benchmark
