"""`oncue eval ovobench`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.ovobench import OvoBench

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOvoBench(StreamFlags):
    """Score answers about the past, present and future of streams (OVO-Bench).

    Example: oncue eval ovobench --annotations ovo_bench_new.json --predictions results/ --format
    official
    """

    variants: tyro.conf.OmitArgPrefixes[OvoBench] = field(default_factory=OvoBench)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
