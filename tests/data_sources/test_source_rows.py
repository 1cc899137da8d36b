"""Annotation files as sources: what is sound becomes scenes, and each fault stays in its place."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from source_support import opened, plain, written

from oncue.data.source_videos import VideoKind
from oncue.data.sources.ego_exo_learn import clean_text, is_refusal
from oncue.errors import DataError
from oncue.types import TimeSpan


def live(words: list[Any], start_s: float = 12.0, end_s: float = 20.0) -> list[dict[str, Any]]:
    video = {"type": "video", "video": "a/v1.mp4", "video_start": start_s, "video_end": end_s}
    stream = {"type": "text_stream", "text_stream": words}
    return [
        {"role": "user", "content": [video, {"type": "text", "text": "Go", "previous": ""}]},
        {"role": "assistant", "content": [stream]},
    ]


def test_live_whisperx_rows_become_sentences_of_the_clip(tmp_path: Path) -> None:
    words = [[11, 11.5, "Lost"], [12, 12.5, "He"], [12.5, 13, "ran."], [13, 14, "Why?"]]
    rows = [live(words), {"no": "row"}, live([[1, None, "x"]]), live([]), live(words), [0, 512]]
    (clip, twin), faults = opened("live-whisperx", written(tmp_path / "a.jsonl", rows))
    assert (clip.video_id, twin.video_id) == ("v1-12s_20s", "v1-12s_20s-2")
    assert (clip.video, clip.kind, clip.part) == ("a/v1.mp4", VideoKind.WEB, TimeSpan(12.0, 20.0))
    assert plain(clip.sentences) == [(0, 1, "He ran."), (1, 2, "Why?")]
    assert [fault.split(": ", 1)[0].split(", ", 1)[1] for fault in faults] == [
        "line 2 holds {'no'",
        "line 3, word 1",
        "line 4",
    ]


def test_a_live_whisperx_clip_of_more_than_180_s_is_cut(tmp_path: Path) -> None:
    words = [[float(k), k + 1.0, f"w{k}."] for k in range(10, 250)]
    path = written(tmp_path / "a.jsonl", [live(words, 10.0, 250.0)])
    videos, _ = opened("live-whisperx", path)
    assert [each.part for each in videos] == [TimeSpan(10.0, 190.0), TimeSpan(190.0, 250.0)]
    assert plain(videos[1].sentences)[0] == (0, 1, "w190.")


def test_dense_captions_of_both_shapes(tmp_path: Path) -> None:
    flat = {"v_a": {"duration": 50, "timestamps": [[9, 20], [0, 8.5]], "sentences": ["b", " a "]}}
    nested = {
        "database": {
            "a": {
                "duration": 50.0,
                "annotations": [
                    {"segment": [9, 20], "sentence": "b", "id": 1},
                    {"segment": [0, 8.5], "sentence": "a", "id": 0},
                ],
                "subset": "training",
            }
        }
    }
    (tmp_path / "videos" / "deep").mkdir(parents=True)
    (tmp_path / "videos" / "deep" / "a.mkv").touch()
    for value in (flat, nested):
        (video,), faults = opened(
            "youcook2", written(tmp_path / "a.json", value), videos=tmp_path / "videos"
        )
        assert plain(video.scenes) == [(0, 8.5, "a"), (9, 20, "b")]
        assert (video.video, video.duration_s, faults) == ("deep/a.mkv", 50.0, [])
    (video,), _ = opened("youcook2", written(tmp_path / "a.json", flat))
    assert (video.video_id, video.video) == ("v_a", "a.mp4")


def test_broken_dense_captions_stay_in_their_place(tmp_path: Path) -> None:
    spans = [[0, 5], [7, 3], [5, 5], [60, 70], [40, 50.2]]
    value = {
        "v_a": {"duration": 50.0, "timestamps": spans, "sentences": list("abcde")},
        "v_b": {"duration": 50.0, "timestamps": [[0, 1]], "sentences": []},
        "v_c": {"duration": 0, "timestamps": [], "sentences": []},
        "v_d": {"duration": 9, "timestamps": [], "sentences": []},
    }
    (video,), faults = opened("activitynet", written(tmp_path / "a.json", value))
    assert plain(video.scenes) == [(0, 5, "a"), (40, 50, "e")]
    assert [fault.split("video ")[1][:18] for fault in faults] == [
        "v_a, segment 2: 's",
        "v_a, segment 3: it",
        "v_a, segment 4: it",
        "v_b: it has 1 time",
        "v_c: 'duration' mu",
        "v_d: no segment of",
    ]
    with pytest.raises(DataError, match="holds no video"):
        opened("activitynet", written(tmp_path / "b.json", {}))


TAKES = [
    {
        "take_uid": uid,
        "take_name": name,
        "root_dir": f"takes/{name}",
        "duration_sec": 30.0,
        "frame_aligned_videos": {
            "cam01": {"0": {"relative_path": "frame_aligned_videos/cam01.mp4"}},
            "aria01": {
                "rgb": {"relative_path": "frame_aligned_videos/aria01_214-1.mp4"},
                "et": {"relative_path": "frame_aligned_videos/aria01_211-1.mp4"},
            },
            "best_exo": {"0": {"relative_path": None}},
        },
    }
    for uid, name in (("u1", "bike"), ("u2", "test"))
]


def said(text: str, timestamp: float, seen: object = "1") -> dict[str, object]:
    return {"text": text, "timestamp": timestamp, "narration_subject": "C", "ego_visible": seen}


def test_ego_exo_4d_moments_become_scenes(tmp_path: Path) -> None:
    one = [
        said("C lifts C's pan.", 0.5),
        said("X waves at C.", 9.0),
        said("C waits.", 10.0, "0"),
        said("C stops.", 11.5, True),
        said("C sits.", 29.0),
        {"text": "late"},
    ]
    entries = [
        {"annotator_id": 7, "rejected": False, "descriptions": one},
        {"annotator_id": "8", "rejected": True, "descriptions": one},
        {"annotator_id": "9", "rejected": "0", "descriptions": [said("C eats.", 5.0)]},
    ]
    paths = [
        written(tmp_path / "takes.json", TAKES),
        written(tmp_path / "atomic.json", {"annotations": {"u1": entries, "u9": entries}}),
    ]
    videos, faults = opened("ego-exo4d", *paths)
    assert [each.video_id for each in videos] == ["bike-actions-1", "bike-actions-3"]
    assert plain(videos[0].scenes) == [
        (0, 8, "The camera wearer lifts the camera wearer's pan."),
        (8, 12, "X waves at the camera wearer."),
        (10.5, 28, "The camera wearer stops."),
        (28, 30, "The camera wearer sits."),
    ]
    assert videos[0].video == "takes/bike/frame_aligned_videos/aria01_214-1.mp4"
    assert (videos[0].kind, videos[0].duration_s) == (VideoKind.EGO, 30.0)
    assert "take u1, annotation 1, description 6: field 'timestamp' is missing" in faults[0]
    assert "take u9: takes.json has no such take" in faults[1]


def test_ego_exo_4d_keysteps_and_downscaled_videos(tmp_path: Path) -> None:
    segments = [
        {"start_time": 1.5, "end_time": 8.0, "step_name": "Cut", "step_description": "Cut it"},
        {"start_time": 8.0, "end_time": 9.0, "step_name": "Stir", "step_description": None},
        {"start_time": 9.0, "end_time": 9.0, "step_name": "None"},
    ]
    paths = [
        written(tmp_path / "takes.json", TAKES),
        written(tmp_path / "k.json", {"annotations": {"u2": {"segments": segments}}}),
    ]
    small = "takes/test/frame_aligned_videos/downscaled/448/aria01_214-1.mp4"
    (tmp_path / small).parent.mkdir(parents=True)
    (tmp_path / small).touch()
    (video,), faults = opened("ego-exo4d", *paths, videos=tmp_path)
    assert (video.video_id, video.video) == ("test-keysteps", small)
    assert plain(video.scenes) == [(1.5, 8, "Cut it"), (8, 9, "Stir")]
    assert len(faults) == 1
    with pytest.raises(DataError, match=r"have no takes\.json"):
        opened("ego-exo4d", paths[1])
    with pytest.raises(DataError, match="neither takes nor annotations"):
        opened("ego-exo4d", written(tmp_path / "x.json", {"a": 1}))


COARSE = [
    {"start": 3, "end": 9.5, "duration": 60.1, "textAttribute_en": "1. Wash it\n2. Cut it."},
    {"start": 8.0, "end": 12, "duration": 60.1, "textAttribute_en": "Stir."},
    {"start": 20, "end": 60.15, "textAttribute_en": "1. Fry."},
    {"start": 5.0, "end": 5.0, "duration": 60.1, "textAttribute_en": "Nothing"},
    {
        "start": 15,
        "end": 16,
        "duration": 60.1,
        "textAttribute_en": "I'm ready to translate! Please provide the sentences.",
    },
]


def packed(path: Path, files: dict[str, object]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, value in files.items():
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_egoexolearn_coarse_as_an_archive_and_as_a_folder(tmp_path: Path) -> None:
    archive = packed(tmp_path / "c.tar.gz", {"l1/u1.json": COARSE, "l1/u2.json": "{"})
    written(tmp_path / "out" / "l1" / "u1.json", COARSE)
    (tmp_path / "out" / "l1" / "u2.json").write_text("{")
    for path in (archive, tmp_path / "out"):
        (video,), faults = opened("egoexolearn", path)
        assert plain(video.scenes) == [
            (3, 9.5, "Wash it. Cut it."),
            (8, 12, "Stir."),
            (20, 60.1, "Fry."),
        ]
        assert (video.video_id, video.video, video.duration_s) == ("u1", "u1.mp4", 60.1)
        assert "segment 4: it has no width (5 s to 5 s)" in faults[0]
        assert "segment 5: its text is what a translation model said" in faults[1]
        assert "u2.json is not JSON" in faults[2]
    with pytest.raises(DataError, match="as a tar file"):
        opened("egoexolearn", written(tmp_path / "c.tgz", {}))


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but there are no sentences provided to be translated.", True),
        ("I'm happy to help! But I don't see any sentences for me to translate.", True),
        ("I am ready to translate.", True),
        ("1. Provide the sauce with a spoon.", False),
        ("Put back into the original place. Sorry.", False),
    ],
)
def test_refusals_of_a_translator_are_known(text: str, refused: bool) -> None:
    assert is_refusal(text) is refused
    assert clean_text("1. a,\n\n 2) b\n3、c") == "a, b. c"


def test_egoexolearn_fine_rows(tmp_path: Path) -> None:
    path = tmp_path / "fine.csv"
    head = "video_uid,annotation_id,subset,view,scene,start_sec,end_sec,narration_en"
    rows = ["u1,a,train,ego,lab,4.5,6,takes a tube", "u1,b,train,ego,lab,1,3,lifts it"]
    rows += ["u1,c,train,ego,lab,x,3,bad", "u2,d,train,exo,lab,1,3,other", "u3,e,val,ego,lab,1,2,"]
    path.write_text("\n".join([head, *rows]) + "\n", "utf-8-sig")
    (video,), faults = opened("egoexolearn", path)
    assert plain(video.scenes) == [(1, 3, "lifts it"), (4.5, 6, "takes a tube")]
    assert [fault.split("fine.csv, ")[1][:14] for fault in faults] == [
        "line 4: its ti",
        "line 6: it has",
        "video u3: no s",
    ]
    path.write_text("video_uid,start_sec,end_sec\nu1,1,2\n")
    with pytest.raises(DataError, match="has no texts"):
        opened("egoexolearn", path)


def test_gold_rows_of_a_video_become_one_video(tmp_path: Path) -> None:
    def row(video: str, *answers: dict[str, object]) -> dict[str, object]:
        return {"video": video, "question_id": "q", "duration": 30.0, "answer": list(answers)}

    first = {"content": "A man.", "related_timespan": [6, 9], "reply_timespan": [6, 10]}
    rows = [
        row("a.mp4", first, {"content": "Left.", "reply_timespan": [2, 40]}),
        row("b.mp4", {"content": "x"}),
        row("a.mp4", first, {"content": "Free.", "related_timespan": [9, 12]}),
        {"video": "c.mp4"},
    ]
    (video, empty), faults = opened("gold", written(tmp_path / "gold.json", rows))
    assert (video.video_id, video.source, video.duration_s) == ("a", "gold", 30.0)
    assert plain(video.scenes) == [(2, 30, "Left."), (6, 9, "A man."), (9, 12, "Free.")]
    assert not empty.scenes
    assert "row 2, answer 1: it has neither related_timespan nor reply_timespan" in faults[0]
    assert "row 4: field 'duration' is missing" in faults[1]


def test_worlds_have_their_exact_scenes(tmp_path: Path) -> None:
    scene = {"span": [2.5, 7.75], "caption": "A circle appears.", "kind": "appears"}
    rows = [{"video": "w-0.mp4", "duration": 26.0, "scenes": [scene, {"span": [1, 2]}]}, {"a": 1}]
    written(tmp_path / "scenes.jsonl", rows)
    (video,), faults = opened("world", tmp_path)
    assert plain(video.scenes) == [(2.5, 7.75, "A circle appears.")]
    assert video.video == str(tmp_path / "videos" / "w-0.mp4")
    assert len(faults) == 2
    with pytest.raises(DataError, match="oncue world make"):
        opened("world", tmp_path.parent)
