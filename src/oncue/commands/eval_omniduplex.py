"""`oncue eval omniduplex`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncue.commands.eval_stream import StreamFlags

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark


@dataclass(frozen=True)
class EvalOmniDuplex(StreamFlags):
    """Score reminders at events and corrections of wrong statements (Omni-DuplexEval).

    The name of an annotation file is that of its split. The questions of --predictions are named
    SPLIT/ID, such as event_reminder/12.

    Example: oncue eval omniduplex --annotations PR_event_reminder.jsonl --predictions said.jsonl
    --judge openai:MODEL@URL
    """

    def benchmark(self) -> StreamBenchmark[Any]:
        from oncue.eval.benchmarks.omniduplex import OmniDuplex

        return OmniDuplex()
