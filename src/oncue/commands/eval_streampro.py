"""`oncue eval streampro`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.streampro import StreamPro

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalStreamPro(StreamFlags):
    """Score replies as the text of the StreamPro paper describes it; no code was released.

    Example: oncue eval streampro --annotations rows.jsonl --predictions said.jsonl --grading none
    """

    variants: tyro.conf.OmitArgPrefixes[StreamPro] = field(default_factory=StreamPro)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
