"""`oncue eval proactivevideoqa`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.proactivevideoqa import ProactiveVideoQa

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalProactiveVideoQa(StreamFlags):
    """Score what a model says while a reply is due, and how early (ProactiveVideoQA, PAUC). Each
    annotation file is a subset, named by its folder.

    Example: oncue eval proactivevideoqa --annotations WEB/anno.json TV/anno.json
    --predictions said.jsonl --judge openai:gpt-4.1@https://api.openai.com/v1
    """

    variants: tyro.conf.OmitArgPrefixes[ProactiveVideoQa] = field(default_factory=ProactiveVideoQa)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
