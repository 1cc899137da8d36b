"""`oncue eval spot`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro

from oncue.commands.eval_stream import StreamFlags
from oncue.eval.benchmarks.spot import Spot

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalSpot(StreamFlags):
    """Score how timely replies are, in six tasks (SPOT-Bench).

    The name of an annotation file says its task: abd.json, pnr.json, sqa.json, spg.json, si.json,
    ui.json. The questions of --predictions are named TASK/video, such as ABD/v1.

    Example: oncue eval spot --annotations data/abd.json data/pnr.json --predictions said.jsonl
    --grading keywords
    """

    variants: tyro.conf.OmitArgPrefixes[Spot] = field(default_factory=Spot)

    def benchmark(self) -> StreamBenchmark[Any]:
        return self.variants
