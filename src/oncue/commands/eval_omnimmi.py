"""`oncue eval omnimmi`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.omnimmi import OmniMmi

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOmniMmi(StreamFlags):
    """Score when a model signals an event that it was asked to wait for, or whether it leaves a
    turn alone that needs no answer (OmniMMI).

    Example: oncue eval omnimmi --annotations proactive_alerting.json --predictions said.jsonl
    """

    variants: tyro.conf.OmitArgPrefixes[OmniMmi] = field(default_factory=OmniMmi)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
