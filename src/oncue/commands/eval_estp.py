"""`oncue eval estp`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.estp import Estp

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalEstp(StreamFlags):
    """Score when a model speaks on first-person videos (ESTP-Bench), by timing alone.

    Example: oncue eval estp --annotations estp_bench_sq.json --predictions said.jsonl
    """

    variants: tyro.conf.OmitArgPrefixes[Estp] = field(default_factory=Estp)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
