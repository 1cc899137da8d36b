"""`oncue eval interactionbench`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.interactionbench import InteractionBench

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalInteractionBench(StreamFlags):
    """Score what a model says to questions and standing requests, and when (InteractionBench).

    Give the folder of annotations, and the multiple-choice key beside it.

    Example: oncue eval interactionbench --annotations data/annotations data/mcq/mcq_key_v4.jsonl
    --predictions said.jsonl --judge openai:Qwen3-14B@http://localhost:8000/v1
    """

    variants: tyro.conf.OmitArgPrefixes[InteractionBench] = field(default_factory=InteractionBench)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
