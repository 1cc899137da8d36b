"""How fast weights change over a run."""

from __future__ import annotations

import math


def scheduled_rate(peak: float, step: int, total: int, *, warmup: int, final_frac: float) -> float:
    """The learning rate of step `step`, counted from 0, of `total`.

    It grows evenly to `peak` over the first `warmup` steps, then follows a cosine towards
    `final_frac` of it, which step `total` would have (1: it stays).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    along = (step - warmup) / max(1, total - warmup)
    return peak * (final_frac + (1 - final_frac) * 0.5 * (1 + math.cos(math.pi * along)))
