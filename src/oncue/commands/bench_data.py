"""`oncue bench data`: what the pipeline from videos to dialogues costs by itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress


@dataclass(frozen=True)
class BenchData:
    """Measure the pipeline's own time per turn of a video, without model and decoding; how many
    times faster than real time a generated 720p30 H.264 video is decoded; and the memory that
    planning, building, writing and checking few and many made-up videos takes. Five minutes on two
    cores.

    Example: oncue bench data --json
    """

    num_videos: int = 10_000
    """Made-up videos of the large run; the small one has a tenth of them."""

    json: bool = False
    """One JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Measure and show. Returns the exit code."""
        from oncue.bench.pipeline import NUM_STEPS, measure_pipeline

        check_smallest(self, num_videos=10)
        with Progress("measuring", NUM_STEPS) as progress:
            figures = measure_pipeline(progress.step, self.num_videos, self.num_videos // 10)
        if self.json:
            print(json.dumps(figures))
        else:
            print("\n".join(f"{name:<26} {value:.6g}" for name, value in figures.items()))
        return 0
