"""Values on their way to the device of a model."""

from __future__ import annotations

import numpy as np
import torch


def upload(values: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """The values, which are on the CPU, on `device`. On a GPU nobody waits: a copy from ordinary
    memory would wait for all that is queued there, one from pinned memory takes its place in the
    queue."""
    there = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type == "cuda" and there.device.type == "cpu":
        there = there.pin_memory()
    return there.to(device, non_blocking=device.type != "mps")
