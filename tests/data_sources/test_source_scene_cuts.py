"""Scenes from pictures: found where the picture changes, of a sensible length, never none."""

from __future__ import annotations

import itertools
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.data.sources.scene_cuts import SceneSettings, find_scenes, fit_scenes
from oncue.errors import ConfigError, CorruptStretchWarning, VideoError
from oncue.types import TimeSpan

pytest.importorskip("scenedetect")
SMALL = SceneSettings(shortest_s=1.0, longest_s=4.0)


def shots(path: Path, times_ms: list[int], cuts_ms: list[int]) -> Path:
    """A picture at each time; another texture from each cut on, which moves a little."""
    looks = [
        np.random.default_rng(number)
        .integers(0, 256, (8, 20, 3), np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
        for number in range(len(cuts_ms) + 1)
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "10"})
        stream.height, stream.width, stream.pix_fmt = 64, 160, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            look = looks[sum(time_ms >= cut for cut in cuts_ms)].repeat(8, 0).repeat(8, 1)
            frame = av.VideoFrame.from_ndarray(np.roll(look, number % 3, 1), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def borders(scenes: tuple[TimeSpan, ...]) -> list[float]:
    return [scenes[0].start_s, *(each.end_s for each in scenes)]


def test_cuts_are_found_and_long_shots_are_cut_into_equal_parts(tmp_path: Path) -> None:
    path = shots(tmp_path / "a.mp4", list(range(0, 12000, 100)), [2000, 4500])
    assert borders(find_scenes(path, settings=SMALL)) == pytest.approx(
        [0, 2.0, 4.5, 8.25, 12.0], abs=0.11
    )
    # In seconds from the start of the part, and no further than its end
    part = find_scenes(path, TimeSpan(1.0, 6.0), SMALL)
    assert borders(part) == pytest.approx([0, 1.0, 3.5, 5.0], abs=0.11)
    with pytest.raises(VideoError, match="before the stretch"):
        find_scenes(path, TimeSpan(20.0, 30.0), SMALL)


def test_a_rate_that_varies_moves_no_cut(tmp_path: Path) -> None:
    times_ms = [*range(0, 3000, 40), *range(3000, 6000, 200), *range(6000, 9000, 50)]
    path = shots(tmp_path / "a.mp4", times_ms, [3000, 6000])
    assert borders(find_scenes(path, settings=SMALL)) == pytest.approx([0, 3, 6, 9], abs=0.21)


def test_a_file_without_a_change_is_cut_by_length_alone(tmp_path: Path) -> None:
    path = shots(tmp_path / "a.mp4", list(range(0, 6000, 100)), [])
    assert borders(find_scenes(path, settings=SMALL)) == pytest.approx([0, 3, 6], abs=0.01)
    assert len(find_scenes(path)) == 1


def test_a_corrupt_tail_costs_no_scene_before_it(tmp_path: Path) -> None:
    path = shots(tmp_path / "a.mkv", list(range(0, 8000, 100)), [3000])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    with pytest.warns(CorruptStretchWarning):
        found = borders(find_scenes(path, settings=SMALL))
    assert found[0] == 0
    assert pytest.approx(found[1], abs=0.11) == 3.0
    assert 4.0 < found[-1] < 8.0


def test_short_scenes_are_joined_to_the_shorter_neighbour() -> None:
    two = SceneSettings(shortest_s=2.0, longest_s=100.0)
    assert borders(fit_scenes([5.0, 6.0, 9.0], 20.0, two)) == [0, 5.0, 9.0, 20.0]
    assert borders(fit_scenes([1.0], 20.0, two)) == [0, 20.0]
    assert borders(fit_scenes([19.5], 20.0, two)) == [0, 20.0]
    assert borders(fit_scenes([], 0.5, two)) == [0, 0.5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 130), max_size=25), st.floats(0.1, 120))
def test_scenes_cover_the_video_and_have_a_sensible_length(
    cuts_s: list[float], length_s: float
) -> None:
    scenes = fit_scenes(cuts_s, length_s, SceneSettings())
    assert borders(scenes)[0] == 0
    assert scenes[-1].end_s == length_s
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(scenes))
    assert all(each.duration_s <= 20.0 + 1e-5 for each in scenes)
    assert len(scenes) == 1 or all(each.duration_s >= 4.0 - 1e-5 for each in scenes)


@pytest.mark.parametrize(
    "values",
    [{"shortest_s": 0.0}, {"longest_s": 7.0}, {"frame_interval_s": 0.0}, {"min_content": 0.0}],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        SceneSettings(**values)


def test_without_the_package_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect.detectors", None)
    with pytest.raises(ConfigError, match="pip install 'scenedetect-headless"):
        find_scenes(tmp_path / "a.mp4")
