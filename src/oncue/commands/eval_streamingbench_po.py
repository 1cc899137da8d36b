"""`oncue eval streamingbench-po`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.streamingbench_po import StreamingBenchPo

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalStreamingBenchPo(StreamFlags):
    """Score whether a model says given words within seconds of an event (StreamingBench, proactive
    output).

    Example: oncue eval streamingbench-po --annotations questions_proactive.json --predictions FILE
    """

    variants: tyro.conf.OmitArgPrefixes[StreamingBenchPo] = field(default_factory=StreamingBenchPo)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
