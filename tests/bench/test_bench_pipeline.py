"""The measure of the pipeline makes whole rows, and says what it measured."""

from __future__ import annotations

from oncue.bench.pipeline import measure_pipeline


def test_every_made_up_video_becomes_a_row() -> None:
    steps: list[None] = []
    figures = measure_pipeline(lambda: steps.append(None), num_videos=12, few=3, clip_s=2)
    assert len(steps) == 3
    assert figures["num_rows"] == 3
    assert figures["num_frames_shown"] == 1
    assert figures["overhead_ms_per_turn"] > 0
    assert 0 < figures["peak_mib_3_videos"] <= figures["peak_mib_12_videos"]
