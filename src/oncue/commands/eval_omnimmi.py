"""`oncue eval omnimmi`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncue.commands.eval_stream import StreamFlags

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOmniMmi(StreamFlags):
    """Score when a model signals an event that it was asked to wait for (OmniMMI, proactive
    alerting).

    Example: oncue eval omnimmi --annotations proactive_alerting.json --predictions said.jsonl
    """

    def benchmark(self) -> StreamBenchmark[Any]:
        from oncue.eval.benchmarks.omnimmi import OmniMmi

        return OmniMmi()
