"""Worlds on disk: what is written agrees with the clips, and folders are not mixed."""

from __future__ import annotations

import json

import pytest

from oncue.data.gold import load_gold
from oncue.errors import ConfigError
from oncue.world.make import make_world, video_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return folder, make_world(folder, world="shapes", split="val", count=6, seed=2)


def test_the_annotations_are_the_tasks(made):
    folder, clips = made
    for sample, clip in zip(load_gold(folder / "annotations.json"), clips, strict=True):
        assert (folder / "videos" / sample.video) == video_path(folder, clip)
        assert (folder / "videos" / sample.video).is_file()
        assert sample.task.questions == clip.task.questions
        assert [(g.content, g.span) for g in sample.task.gold] == [
            (g.content, g.span) for g in clip.task.gold
        ]


def test_the_dialogues_hold_every_frame_and_every_gold_reply(made):
    folder, clips = made
    rows = [json.loads(line) for line in (folder / "dialogues.jsonl").read_text().splitlines()]
    for row, clip in zip(rows, clips, strict=True):
        assert sum(m["content"].count("<image>") for m in row["messages"]) == len(row["images"])
        assert len(row["images"]) == clip.scene.duration_s
        said = [
            m["content"]
            for m in row["messages"]
            if m["role"] == "assistant" and m["content"] != "NO REPLY"
        ]
        assert said == [gold.content for gold in clip.task.gold]


def test_clips_without_events_have_scenes_too(tmp_path, monkeypatch):
    from oncue.world import make

    stock = make.make_clip
    monkeypatch.setattr(
        make, "make_clip", lambda *a, **k: stock(*a, **k, empty_frac=1.0, duration_s=(2.0, 3.0))
    )
    clips = make_world(tmp_path, world="shapes", count=2)
    rows = [json.loads(line) for line in (tmp_path / "scenes.jsonl").read_text().splitlines()]
    assert [row["scenes"] for row in rows] == [[], []]
    assert not clips[0].scene.events


def test_videos_are_kept_and_worlds_not_mixed(made):
    folder, clips = made
    before = video_path(folder, clips[0]).stat().st_mtime_ns
    assert [
        c.clip_id for c in make_world(folder, world="shapes", split="val", count=6, seed=2)
    ] == [c.clip_id for c in clips]
    assert video_path(folder, clips[0]).stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another folder"):
        make_world(folder, world="shapes", split="val", count=6, seed=3)
    with pytest.raises(ConfigError, match="at least 1"):
        make_world(folder, count=0)


def test_clips_of_a_world_that_was_changed_since_are_not_mixed_with_new_ones(tmp_path, monkeypatch):
    make_world(tmp_path, count=1)
    monkeypatch.setattr("oncue.world.make.drawn_by", lambda: "changed")
    with pytest.raises(ConfigError, match=r"drawn by another version .*remove this one"):
        make_world(tmp_path, count=1)


def test_fewer_clips_lose_no_gold_and_more_add_to_it(tmp_path):
    def known() -> tuple[int, ...]:
        rows = [
            len((tmp_path / name).read_text().splitlines())
            for name in ("scenes.jsonl", "dialogues.jsonl")
        ]
        count = json.loads((tmp_path / "world.json").read_text())["count"]
        return (
            len(load_gold(tmp_path / "annotations.json")),
            *rows,
            count,
            len(list((tmp_path / "videos").iterdir())),
        )

    for count, num_known in ((2, 2), (1, 2), (3, 3)):
        told = []
        clips = make_world(
            tmp_path, count=count, on_clip=lambda clip, _, told=told: told.append(clip)
        )
        assert len(clips) == count
        assert told == clips
        assert known() == (num_known,) * 5
    (tmp_path / "world.json").write_text("{}")
    with pytest.raises(ConfigError, match="is broken"):
        make_world(tmp_path, count=1)


def test_a_folder_that_was_stopped_half_way_takes_no_other_world(tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_world(tmp_path, world="shapes", count=3, on_clip=stop)
    with pytest.raises(ConfigError, match="another folder"):
        make_world(tmp_path, world="footage", count=1)
    make_world(tmp_path, world="shapes", count=1)  # it goes on, and lists what there is
    assert (
        len(load_gold(tmp_path / "annotations.json"))
        == len(list((tmp_path / "videos").iterdir()))
        == 1
    )
