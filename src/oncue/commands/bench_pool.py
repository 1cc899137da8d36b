"""`oncue bench pool`: how fast the frame pool of a long video is read."""

from __future__ import annotations

import json
from dataclasses import dataclass

from oncue.commands.progress import Progress


@dataclass(frozen=True)
class BenchPool:
    """Measure how fast the frame pool of an hour of video is read, beside decoding all of it, with
    a key frame every 4 s and every 250 frames (the default of x264). Exit code 1 if a frame is not
    the one that decoding all gives. The videos are generated once (some minutes) and kept in the
    cache folder.

    Example: oncue bench pool --json
    """

    quick: bool = False
    """Three minutes of a smaller video: half a minute on two cores."""

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Measure and show. Returns the exit code."""
        from oncue.bench.pool_reading import FULL, NUM_STEPS, QUICK, measure_pool

        with Progress("measuring", NUM_STEPS) as progress:
            figures = measure_pool(QUICK if self.quick else FULL, step=progress.step)
        if self.json:
            print(json.dumps(figures, allow_nan=False))
        else:
            print("\n".join(f"{name:<20} {value:.6g}" for name, value in figures.items()))
        return int(any(num for name, num in figures.items() if name.endswith("_num_wrong")))
