"""A stretch of a video: its own clock, the pictures of the whole video, and no picture of later."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from video_clips import make_clip, number_of

from oncue.errors import VideoError
from oncue.video import excerpt
from oncue.video.excerpt import open_excerpt
from oncue.video.jumps import OddVideoError


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of 10 pictures per second, each with its number."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 200)


def shown(path: Path, interval_s: float, start_s: float, end_s: float | None) -> list[int]:
    """The numbers of the pictures of a stretch."""
    with closing(open_excerpt(path, interval_s, start_s, end_s)) as source:
        numbers = []
        while (batch := source.read()) is not None:
            numbers.append(number_of(batch.pixels[0]))
        return numbers


@pytest.mark.parametrize("jump_s", [0.0, 1e9], ids=["jumps", "decodes all"])
@pytest.mark.parametrize(
    ("interval_s", "start_s", "end_s", "expected"),
    [
        (1.0, 12.0, 15.0, [130, 140, 150]),
        (1.0, 12.35, 15.0, [133, 143, 150]),  # the grid begins with the stretch
        (0.5, 3.0, 4.2, [35, 40, 42]),  # the last turn shows nothing of after the end
        (2.0, 15.0, None, [170, 190, 199]),
        (1.0, 18.0, 40.0, [190, 199]),  # the video ends first
        (1.0, 0.0, 2.0, [10, 20]),
    ],
)
def test_a_stretch_shows_what_the_whole_video_shows_then(
    clip, monkeypatch, jump_s, interval_s, start_s, end_s, expected
) -> None:
    monkeypatch.setattr(excerpt, "WORTH_A_JUMP_S", jump_s)
    assert shown(clip, interval_s, start_s, end_s) == expected


def test_its_duration_is_that_of_the_stretch(clip) -> None:
    with closing(open_excerpt(clip, 1.0, 12.0, 40.0)) as source:
        assert source.duration_s == pytest.approx(8.0)
        while source.read() is not None:
            pass
        assert source.end_s == pytest.approx(8.0)


def test_damage_met_on_the_way_changes_no_picture(clip, monkeypatch) -> None:
    class Odd(excerpt.Jumps):
        def frames(self):
            for number, placed in enumerate(super().frames()):
                if number == 8:
                    raise OddVideoError("as if damaged")
                yield placed

    monkeypatch.setattr(excerpt, "Jumps", Odd)
    assert shown(clip, 1.0, 12.0, 17.0) == [130, 140, 150, 160, 170]


def test_a_stretch_behind_the_end_is_an_error(clip) -> None:
    with pytest.raises(VideoError, match=r"ends at 20 s, before the stretch from 20\.5 s"):
        open_excerpt(clip, 1.0, 20.5, 22.0)
