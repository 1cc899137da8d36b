"""Long videos are cut into parts, ids are unique, and the registry opens what it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from source_support import opened, parted, plain, remark, written

from oncue.data.source_videos import SourceVideo, VideoKind
from oncue.data.sources.known import SOURCES, SourceOptions, make_source
from oncue.data.sources.parts import PartsSource
from oncue.errors import ConfigError, DataError
from oncue.types import TimeSpan


@dataclass(frozen=True, slots=True)
class Given:
    given: tuple[SourceVideo | DataError, ...]

    def videos(self) -> Iterator[SourceVideo | DataError]:
        return iter(self.given)


LONG = SourceVideo(
    "v1",
    "v1.mp4",
    "x",
    "here",
    part=TimeSpan(10.0, 410.0),
    duration_s=400.0,
    scenes=(
        remark(5, 20, "a"),
        remark(170, 195, "b"),
        remark(178, 260, "c"),
        remark(100, 390, "d"),
    ),
    sentences=(remark(179, 181, "s"),),
)


def test_a_long_video_is_cut_into_parts_with_times_of_their_own() -> None:
    (first, second, third), faults = parted(PartsSource(Given((LONG,))))
    assert [each.video_id for each in (first, second, third)] == [
        "v1-0s_180s",
        "v1-180s_360s",
        "v1-360s_400s",
    ]
    assert [each.part for each in (first, second, third)] == [
        TimeSpan(10.0, 190.0),
        TimeSpan(190.0, 370.0),
        TimeSpan(370.0, 410.0),
    ]
    assert [each.duration_s for each in (first, second, third)] == [180.0, 180.0, 40.0]
    # b and c belong to one side; d fills the second part, and more than half of the third
    assert plain(first.scenes) == [(5, 20, "a")]
    assert plain(second.scenes) == [(0, 15, "b"), (0, 80, "c"), (0, 180, "d")]
    assert plain(third.scenes) == [(0, 30, "d")]
    assert plain(first.sentences) == [(179, 180, "s")]
    assert plain(second.sentences) == [(0, 1, "s")]
    assert not faults


def test_a_short_rest_and_a_part_in_which_nothing_is_said_are_left_out() -> None:
    bare = SourceVideo("v2", "v2.mp4", "x", "here", duration_s=379.0)
    spoken = SourceVideo(
        "v3", "v3.mp4", "x", "here", duration_s=500.0, scenes=(remark(200, 220, "a"),)
    )
    videos, _ = parted(PartsSource(Given((bare, spoken))))
    assert [each.video_id for each in videos] == [
        "v2-0s_180s",
        "v2-180s_360s",
        "v3-180s_360s",
    ]


def test_short_videos_and_all_videos_without_a_limit_stay_whole() -> None:
    short = SourceVideo("v2", "v2.mp4", "x", "here", duration_s=180.0)
    assert parted(PartsSource(Given((short,))))[0] == [short]
    assert parted(PartsSource(Given((LONG,)), None))[0] == [LONG]


def test_ids_are_there_once_and_faults_stay_in_their_place() -> None:
    fault = DataError("row 2 is broken")
    short = SourceVideo("v", "v.mp4", "x", "here")
    found = list(PartsSource(Given((short, fault, short, short)), kind=VideoKind.EGO).videos())
    assert [getattr(each, "video_id", each) for each in found] == ["v", fault, "v-2", "v-3"]
    assert isinstance(found[0], SourceVideo)
    assert found[0].kind is VideoKind.EGO


@pytest.mark.parametrize(("longest_s", "shortest_s"), [(0.0, 0.0), (10.0, 20.0), (float("nan"), 0)])
def test_lengths_that_cannot_be_are_refused(longest_s: float, shortest_s: float) -> None:
    with pytest.raises(ConfigError, match="a part must last"):
        PartsSource(Given(()), longest_s, shortest_s)


def test_every_source_says_what_it_is_in_one_line() -> None:
    assert set(SOURCES) == {
        "subtitles",
        "videos",
        "live-whisperx",
        "ego-exo4d",
        "egoexolearn",
        "youcook2",
        "activitynet",
        "gold",
        "world",
    }
    assert all(
        0 < len(each.description) < 90 and "\n" not in each.paths for each in SOURCES.values()
    )


def test_the_options_take_the_place_of_what_the_source_says(tmp_path: Path) -> None:
    value = {"v_a": {"duration": 300.0, "timestamps": [[0, 90]], "sentences": ["stir"]}}
    path = written(tmp_path / "a.json", value)
    (video,), _ = opened("activitynet", path, kind=VideoKind.WEB, name="mine", longest_part_s=100.0)
    assert (video.source, video.kind, video.duration_s) == ("mine", VideoKind.WEB, 100.0)


def test_what_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown source 'youtube'; expected one of subtitles"):
        make_source("youtube", [tmp_path])
    with pytest.raises(DataError, match="needs paths"):
        make_source("gold", [])
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        make_source("gold", [tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        make_source("gold", [tmp_path], SourceOptions(videos=tmp_path / "nowhere"))
