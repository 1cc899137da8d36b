"""`oncue eval ovo-timing`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.ovo_timing import OvoTiming

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOvoTiming(StreamFlags):
    """Score how close replies come to the moments of events (OVO-Timing: OVO-Bench's forward tasks,
    online).

    Example: oncue eval ovo-timing --annotations ovo_bench_new.json --predictions said.jsonl
    """

    variants: tyro.conf.OmitArgPrefixes[OvoTiming] = field(default_factory=OvoTiming)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
