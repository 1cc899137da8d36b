"""Work of fixed shape as CUDA graphs: many small launches become one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

_recording = threading.Lock()


class Graphs:
    """Runs functions that read and write the same memory every time they are run under the same
    key, and wait for nothing: on a GPU each is recorded at its first run, and replayed from then
    on. Elsewhere they are simply run.

    Memory a function merely reads must be kept by whoever gave it the key. What it returns is valid
    until anything is run again: what one graph returns may lie where another one computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def run(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """What `function()` returns, which is the first one given under this key."""
        if self._pool is None:
            return function()
        if key not in self._recorded:
            self._recorded[key] = self._record(function)
        result: Result
        graph, result = self._recorded[key]
        graph.replay()
        return result

    def _record(self, function: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        """Run once outside a graph (libraries set themselves up at a first call), then record: on
        the model's own GPU, which need not be the current one of this thread, and alone in the
        process, as CUDA asks."""
        with _recording, torch.cuda.device(self._device):
            stream, current = (
                torch.cuda.Stream(self._device),
                torch.cuda.current_stream(self._device),
            )
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                function()
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
            ):
                result = function()
        return graph, result
