"""`oncue eval omnipro-probe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncue.commands.eval_stream import StreamFlags

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOmniProProbe(StreamFlags):
    """Score answers to questions shortly before and after each trigger (OmniPro, probe mode).

    Example: oncue eval omnipro-probe --annotations benchmark.json --predictions results/probe/MODEL
    --format official
    """

    def benchmark(self) -> StreamBenchmark[Any]:
        from oncue.eval.benchmarks.omnipro_probe import OmniProProbe

        return OmniProProbe()
