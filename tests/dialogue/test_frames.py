"""Pictures named by dialogues: files, and moments of videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oncue.dialogue.frames import load_frames, locate
from oncue.errors import DataError, VideoError
from oncue.video.source import FileSource
from oncue.video.writer import write_video

LEVELS = (20, 60, 100, 140, 180, 220)  # grey of each half second


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "steps.mp4"
    write_video(path, (np.full((48, 64, 3), level, np.uint8) for level in LEVELS), 2.0)
    return path


def shown(video: Path, *times_s: str) -> list[int]:
    """Index of the level seen at each moment."""
    frames = load_frames([f"{video}#t={time_s}" for time_s in times_s])
    return [int(np.argmin([abs(frame.mean() - level) for level in LEVELS])) for frame in frames]


def test_a_moment_shows_the_newest_frame_at_or_before_it(video):
    assert shown(video, "0", "0.49", "0.5", "0.999999", "1.2", "2.5") == [0, 0, 1, 2, 2, 5]


def test_moments_come_in_the_order_asked_for_and_as_often(video):
    assert shown(video, "2", "0.5", "2", "0") == [4, 1, 4, 0]


def test_after_the_end_it_is_the_last_frame(video):
    assert shown(video, "3", "99") == [5, 5]


def test_moments_are_the_frames_a_watcher_sees(video):
    source = FileSource(video, 1.0)
    watched = []
    while (batch := source.read()) is not None:
        watched.append(batch.pixels[0])
    source.close()
    named = load_frames([f"{video}#t={k + 1}" for k in range(len(watched))])
    assert len(watched) == 3
    assert all(np.array_equal(a, b) for a, b in zip(named, watched, strict=True))


def test_images_and_moments_may_be_mixed(video, tmp_path):
    Image.new("L", (30, 20), 77).save(tmp_path / "grey.png")
    image, moment = load_frames([tmp_path / "grey.png", f"{video}#t=1"])
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert (image == 77).all()
    assert moment.shape == (48, 64, 3)
    assert load_frames([]) == []


def test_what_is_missing_or_no_picture_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"there is no image .*gone\.png"):
        load_frames([tmp_path / "gone.png"])
    with pytest.raises(DataError, match=r"text\.png is not an image"):
        load_frames([tmp_path / "text.png"])
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        load_frames([f"{tmp_path}/gone.mp4#t=1"])
    with pytest.raises(VideoError, match=r"text\.png"):
        load_frames([f"{tmp_path}/text.png#t=1"])


def test_what_a_damaged_image_makes_its_reader_raise_is_named_too(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "whole.png")

    def raises(*_: object) -> None:
        raise SyntaxError("not a PPM file")

    monkeypatch.setattr(Image.Image, "convert", raises)
    with pytest.raises(DataError, match=r"whole\.png is not an image.*not a PPM file"):
        load_frames([tmp_path / "whole.png"])


def test_sixteen_bits_of_grey_keep_their_shades(tmp_path):
    shades = np.array([[0, 256, 32768], [65535, 300, 1000]], np.uint16)
    Image.fromarray(shades).save(tmp_path / "deep.png")
    (frame,) = load_frames([tmp_path / "deep.png"])
    assert frame.tolist() == [[[v] * 3 for v in row] for row in (shades // 256).tolist()]


def test_a_path_is_that_beside_its_file_where_there_is_one(video):
    beside = Path(f"{video.name}#t=1.5")
    assert locate(beside, video.parent) == video.parent / beside
    assert locate(Path("other.mp4#t=1.5"), video.parent) == Path("other.mp4#t=1.5")
    assert locate(Path("/abs/x.png"), video.parent) == Path("/abs/x.png")


def test_backslashes_separate_folders_where_only_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set" / "clip").mkdir(parents=True)
    (tmp_path / "set" / "clip" / "1.png").touch()
    (tmp_path / "set" / "b\\1.png").touch()
    assert locate(Path("clip\\1.png"), Path("set")) == Path("set/clip/1.png")
    assert locate(Path("set\\clip\\1.png"), Path("other")) == Path("set/clip/1.png")
    assert locate(Path("b\\1.png"), Path("set")) == Path("set/b\\1.png")
    assert locate(Path("gone\\1.png"), Path("set")) == Path("gone\\1.png")
    assert locate(Path("x" * 3000), Path("set")) == Path("x" * 3000)
