"""The bench of the frame pool: what it generates, what it counts, and its exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from oncue.bench import pool_reading
from oncue.bench.pool_reading import NUM_STEPS, PoolBenchSettings, measure_pool
from oncue.cli import main
from oncue.video.decode import decode
from oncue.video.probe import probe

TINY = PoolBenchSettings(part_s=10, num_repeats=2, height_px=144, width_px=256, num_frames=4)


def test_the_video_is_generated_once_and_its_pool_is_exact(tmp_path: Path) -> None:
    steps: list[int] = []
    figures = measure_pool(TINY, tmp_path, lambda: steps.append(0))
    assert len(steps) == NUM_STEPS
    assert (figures["video_s"], figures["num_frames"]) == (20, 4)
    for name, key_every in pool_reading.KEY_EVERY.items():
        assert figures[f"{name}_num_wrong"] == 0
        assert figures[f"{name}_num_pictures"] == 4, "none is like another"
        assert 20 < figures[f"{name}_peak_mib"] < 400
        assert figures[f"{name}_pool_s"] > 0
        path = next(tmp_path.glob(f"*-{key_every}.mp4"))
        frames = list(decode(path))
        keys = [i for i, (_, frame) in enumerate(frames) if frame.key_frame]
        expected = [k + part for part in (0, 250) for k in range(0, 250, key_every)]
        assert keys == expected, "a key frame only where one must be"
        assert probe(path).duration_s == 20
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 2, "what was written on the way is gone"
    pool_reading._video(TINY, 100, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("num_wrong", [0, 1])
def test_a_wrong_frame_is_counted_and_is_exit_code_1(
    num_wrong: int, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    reading = pool_reading._Reading(2.0, 4.0, 100.0, 40.0, ((5.0, "a"), (15.0, "b")))
    wrong = replace(reading, took_s=1.0, pictures=(*reading.pictures[:1], (15.04, "b")))

    def read(how: object, *_: object) -> pool_reading._Reading:
        is_pool = how is pool_reading.read_pool
        return wrong if is_pool and num_wrong else reading

    monkeypatch.setattr(pool_reading, "_alone", read)
    monkeypatch.setattr(pool_reading, "QUICK", TINY)
    monkeypatch.setattr(pool_reading, "_video", lambda *_: Path(__file__))
    assert main(["bench", "pool", "--quick", "--json"]) == num_wrong
    figures = json.loads(capsys.readouterr().out)
    assert figures["key_4s_num_wrong"] == figures["key_250_num_wrong"] == num_wrong
    assert figures["key_4s_ratio"] == 1 + num_wrong
