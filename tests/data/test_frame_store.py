"""Laws of the frame store: a shard is whole or absent, a killed build ends as an undisturbed one,
every byte is where the index says, and what is wrong is named."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oncue.cli import main
from oncue.clock import Clock
from oncue.data.frame_build import Built, build_store
from oncue.data.frame_index import Clip, StoreSettings, shard_paths
from oncue.data.frame_plan import plan_store
from oncue.data.frame_shard import shrinking
from oncue.data.frame_store import forget_stores, open_store
from oncue.data.frame_verify import verify_store
from oncue.data.row_frames import grid_frames
from oncue.dialogue.pictures import load_picture
from oncue.errors import ConfigError, DataError
from oncue.render.images import FrameProcessor
from oncue.types import TimeSpan
from row_videos import number_of, numbered_video

SETTINGS = StoreSettings(frame_interval_s=0.5, quality=95)
CLIPS = (
    Clip("a.v1.mp4"),
    Clip("a.v1.mp4", TimeSpan(1.0, 3.2)),
    Clip("gone.mp4"),
    Clip("Sub/Ünïcode B.mp4"),
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 4 s, ten pictures a second, and one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "Sub").mkdir()
    numbered_video(folder / "a.v1.mp4", 40)
    numbered_video(folder / "Sub" / "Ünïcode B.mp4", 25)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def build(
    folder: Path, videos: Path, clips: tuple[Clip, ...] = CLIPS, *, retry: bool = False
) -> Built:
    folder.mkdir(exist_ok=True)
    plan = plan_store(folder, SETTINGS, clips, clips_per_shard=2, retry=retry)
    return build_store(plan, videos, on_shard=lambda: None)


@pytest.fixture(scope="module")
def store(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "store"
    build(folder, videos)
    return folder


def copied(store: Path, tmp_path: Path) -> Path:
    forget_stores()
    return Path(shutil.copytree(store, tmp_path / "store"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("interval_s", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("clip", [CLIPS[0], CLIPS[1], CLIPS[3]])
def test_frames_of_the_store_are_those_of_the_video(
    store: Path, videos: Path, clip: Clip, interval_s: float
) -> None:
    clock = Clock(interval_s)
    stored = grid_frames(clip, clock, videos=videos, store=store)
    decoded = grid_frames(clip, clock, videos=videos)
    assert [number_of(p) for p in stored] == [number_of(p) for p in decoded]
    assert len(stored) == open_store(store).num_frames(clip, clock)
    some = grid_frames(clip, clock, videos=videos, store=store, first=1, end=3)
    assert all(np.array_equal(a, b) for a, b in zip(some, stored[1:3], strict=True))
    from_video = grid_frames(clip, clock, videos=videos, first=1, end=3)
    assert [number_of(p) for p in from_video] == [number_of(p) for p in some]


def test_an_interval_that_the_store_lacks_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"every 0\.5 s, and one every 0\.75 s .*--frame-inter"):
        open_store(store).num_frames(CLIPS[0], Clock(0.75))


def test_the_tars_are_read_as_webdataset_reads_them(store: Path) -> None:
    """The key is what comes before the first dot of the base name; the members of a key are
    adjacent, no field comes twice, and lower case changes nothing."""
    keys: list[str] = []
    fields: dict[str, list[str]] = defaultdict(list)
    for path in sorted(store.glob("*.tar")):
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                assert member.isreg()
                assert member.name == member.name.lower()
                key, _, field = member.name.partition(".")
                if not keys or keys[-1] != key:
                    keys.append(key)
                fields[key].append(field)
    assert keys == [clip.key for clip in CLIPS if clip.video != "gone.mp4"]
    for key, names in fields.items():
        number = len(open_store(store).clip(key).sizes)
        assert names == ["json", *(f"{n:04d}.jpg" for n in range(1, number + 1))]


def test_a_frame_is_the_picture_of_its_jpeg(store: Path, tmp_path: Path) -> None:
    clip, processor = CLIPS[0], FrameProcessor()
    frames = open_store(store).frames(clip, Clock(0.5))
    with tarfile.open(shard_paths(store, 0)[0]) as tar:
        for number in (1, 8):
            tar.extract(f"{clip.key}.{number:04d}.jpg", tmp_path, filter="data")
            written = load_picture(tmp_path / f"{clip.key}.{number:04d}.jpg")
            assert np.array_equal(written, frames[number - 1])
            assert np.array_equal(processor(written).patches, processor(frames[number - 1]).patches)


def test_keys_differ_where_clips_do() -> None:
    clips = [
        Clip("a.mp4"), Clip("b/a.mp4"), Clip("A.mp4"), Clip("a.mp4", TimeSpan(0, 1)),
        Clip("a.mp4", TimeSpan(0, 1.5)), Clip("__x__.mp4"), Clip("視頻.mp4"), Clip("x" * 300),
    ]  # fmt: skip
    keys = [clip.key for clip in clips]
    assert len(set(keys)) == len(keys)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)
    assert max(map(len, keys)) < 80
    assert Clip("./a.mp4").key == Clip("a.mp4").key


def test_what_cannot_be_shown_is_listed_and_tried_again_with_retry(
    videos: Path, tmp_path: Path
) -> None:
    clips = (Clip("later.mp4"), Clip("broken.mp4"), CLIPS[0], Clip("a.v1.mp4", TimeSpan(9, 12)))
    here = tmp_path / "videos"
    shutil.copytree(videos, here)
    made = build(tmp_path / "s", here, clips)
    assert [clip.video for clip in made.failed] == ["later.mp4", "broken.mp4", "a.v1.mp4"]
    assert (made.num_clips, made.num_frames) == (1, 8)
    shutil.copy(here / "a.v1.mp4", here / "later.mp4")
    assert build(tmp_path / "s", here, clips) == made
    again = build(tmp_path / "s", here, clips, retry=True)
    assert [clip.video for clip in again.failed] == ["broken.mp4", "a.v1.mp4"]
    assert (again.num_clips, again.num_frames) == (2, 16)
    assert list(verify_store(tmp_path / "s", lambda: None)) == []


@pytest.mark.parametrize("lost", ["shard-000000.index.jsonl", "shard-000001.tar", "half"])
def test_a_build_that_was_killed_ends_as_an_undisturbed_one(
    store: Path, videos: Path, tmp_path: Path, lost: str
) -> None:
    folder = copied(store, tmp_path)
    before = contents(folder)
    if lost == "half":  # nothing of a shard is written in place: this is a disk that lied
        tar = folder / "shard-000000.tar"
        tar.write_bytes(tar.read_bytes()[:1000])
    else:
        (folder / lost).unlink()
    kept = (folder / "shard-000001.index.jsonl").stat()
    build(folder, videos)
    assert contents(folder) == before
    is_kept = (folder / "shard-000001.index.jsonl").stat().st_ino == kept.st_ino
    assert is_kept == (lost != "shard-000001.tar")


def test_new_rows_get_new_shards(store: Path, videos: Path, tmp_path: Path) -> None:
    folder = copied(store, tmp_path)
    before = contents(folder)
    new = Clip("a.v1.mp4", TimeSpan(0, 1))
    made = build(folder, videos, (new, *CLIPS))
    after = contents(folder)
    assert {name: after[name] for name in before if name != "clips.jsonl"} == {
        name: data for name, data in before.items() if name != "clips.jsonl"
    }
    assert open_store(folder).places[new.key][0] == 2
    assert made.num_clips == 4


def test_other_settings_are_refused(store: Path, videos: Path, tmp_path: Path) -> None:
    folder = copied(store, tmp_path)
    with pytest.raises(ConfigError, match="quality 95, and 60 is asked for"):
        plan_store(folder, replace(SETTINGS, quality=60), CLIPS, clips_per_shard=2)
    with pytest.raises(DataError, match=r"no frame store in .*; make one"):
        open_store(videos)


def test_each_damage_is_named_with_its_remedy(store: Path, tmp_path: Path) -> None:
    assert list(verify_store(store, lambda: None)) == []
    tar_path, index = shard_paths(store, 0)
    tar, lines = tar_path.read_bytes(), index.read_text().splitlines()
    clip = json.loads(lines[1])
    place, size = clip["offsets"][2], clip["sizes"][2]
    spoiled = tar[:place] + bytes(size) + tar[place + size :]
    moved = {**clip, "offsets": [offset + 1 for offset in clip["offsets"]]}
    damages: list[tuple[bytes | None, str | None, str]] = [
        (None, "\n".join(lines) + "\n", "shard-000000.tar is not there"),
        (tar[:-512], "\n".join(lines) + "\n", "bytes, its index says"),
        (spoiled, "\n".join(lines) + "\n", r"digest differs|no picture"),
        (tar, "\n".join([lines[0], json.dumps(moved), *lines[2:]]) + "\n", "not where the index"),
        (tar, "\n".join(lines)[:-40], "line 3"),
        (tar, "\n".join(lines[:2]) + "\n", "other clips than clips.jsonl"),
        (tar, "", "is empty"),
    ]
    for number, (tar_bytes, index_text, said) in enumerate(damages):
        folder = Path(shutil.copytree(store, tmp_path / str(number)))
        tar_path, index = shard_paths(folder, 0)
        tar_path.unlink() if tar_bytes is None else tar_path.write_bytes(tar_bytes)
        index.write_text(index_text or "")
        wrong = list(verify_store(folder, lambda: None))
        assert any(part in line for line in wrong[:1] for part in said.split("|")), (said, wrong)


def test_a_shard_that_is_cut_off_is_named_where_it_is_read(store: Path, tmp_path: Path) -> None:
    folder = copied(store, tmp_path)
    tar, _ = shard_paths(folder, 0)
    tar.write_bytes(tar.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"shard-000000\.tar is cut off; delete"):
        open_store(folder).frames(CLIPS[0], Clock(0.5))
    with pytest.raises(DataError, match=r"no frames of .*gone"):
        open_store(folder).frames(CLIPS[2], Clock(0.5))


def test_frames_shrink_as_the_image_processor_shrinks_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    small = shrinking(replace(SETTINGS, max_pixels=100_352))(pixels)
    processor = FrameProcessor(max_pixels=100_352)
    assert small.shape[:2] == processor.resized_px(360, 640) == (224, 420)
    assert np.array_equal(processor(small).patches, processor(pixels).patches)
    assert shrinking(replace(SETTINGS, max_side_px=100))(pixels).shape == (56, 100, 3)
    assert shrinking(SETTINGS)(pixels) is pixels


def test_the_command_builds_verifies_and_shows(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "row_id": "r", "video": "a.v1.mp4", "video_id": "a", "source": "x", "kind": "web",
        "dialogue": "1QnA", "questions": [{"text": "What?", "time_s": 0}], "gold": [],
    }  # fmt: skip
    rows = tmp_path / "rows.jsonl"
    gone = {**row, "row_id": "s", "video": "gone.mp4"}
    rows.write_text(
        "".join(json.dumps(each) + "\n" for each in (row, {**row, "row_id": "q"}, gone))
    )
    flags = ["--videos", str(videos), "--out", str(tmp_path / "out"), "--max-side-px", "80"]
    assert main(["data", "frames", "build", str(rows), *flags, "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["num_clips"], summary["num_frames"], summary["num_failed"]) == (1, 2, 1)
    assert "left out: gone.mp4: the video gone.mp4 is not in" in captured.err
    assert main(["data", "frames", "show", str(tmp_path / "out")]) == 0
    assert "a.v1.mp4  2 frames of 80x32" in capsys.readouterr().out
    key = Clip("a.v1.mp4").key
    assert main(["data", "frames", "show", str(tmp_path / "out"), "--clip", key, "--json"]) == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [frame["time_s"] for frame in frames] == [2, 4]
    with (tmp_path / "out" / frames[0]["shard"]).open("rb") as file:
        file.seek(frames[0]["offset"])
        from PIL import Image

        assert Image.open(io.BytesIO(file.read(frames[0]["size"]))).size == (80, 32)
    assert main(["data", "frames", "verify", str(tmp_path / "out")]) == 0
    (tmp_path / "out" / "shard-000000.tar").unlink()
    assert main(["data", "frames", "verify", str(tmp_path / "out")]) == 2
    assert main(["data", "frames", "build", str(rows), *flags, "--max-pixels", "9999"]) == 2
