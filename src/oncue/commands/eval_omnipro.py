"""`oncue eval omnipro`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.omnipro import OmniPro

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOmniPro(StreamFlags):
    """Score alerts, positions, counts, states and narration while a video is watched (OmniPro,
    online).

    Example: oncue eval omnipro --annotations benchmark.json --predictions said.jsonl --grading none
    """

    variants: tyro.conf.OmitArgPrefixes[OmniPro] = field(default_factory=OmniPro)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
