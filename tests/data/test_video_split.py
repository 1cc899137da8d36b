"""Rows held out by video, and the verbs `oncue data convert` and `oncue data split`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oncue import cli
from oncue.data.formats.video_split import Numbers, Part, split_by_video, video_hash, video_name
from oncue.data.source_videos import VideoKind
from oncue.errors import DataError

NAMES = {f"v{k}": VideoKind.WEB if k % 3 else VideoKind.EGO for k in range(300)}


def row(video: str, number: int = 0, kind: str = "web") -> dict:
    return {
        "row_id": f"{video}-{number}",
        "video": video,
        "video_id": video,
        "source": "s",
        "kind": kind,
        "dialogue": "1QnA",
        "duration": 40.0,
        "questions": [{"text": "What?", "time_s": 0}],
        "gold": [{"question": "What?", "content": "A.", "reply_timespan": [6, 10]}],
        "provenance": {"where": "x, line 1", "steps": []},
    }


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    values = [row(f"d/v{k % 20}.mp4", k, "web" if k % 2 else "ego") for k in range(60)]
    path.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")
    return path


def test_a_part_of_the_videos_never_changes_sides() -> None:
    held = Part(0.2).held_out(NAMES)
    assert 40 < len(held) < 80
    fewer = {name: NAMES[name] for name in list(NAMES)[::2]}
    assert Part(0.2).held_out(fewer) == held & set(fewer)


def test_numbers_take_the_lowest_hashes_of_each_kind() -> None:
    how = Numbers({VideoKind.WEB: 30, VideoKind.EGO: 5})
    held = how.held_out(NAMES)
    web = {name for name, kind in NAMES.items() if kind is VideoKind.WEB}
    assert (len(held & web), len(held - web)) == (30, 5)
    highest = max(video_hash(name) for name in held & web)
    assert all(video_hash(name) > highest for name in web - held)
    more = how.held_out({**NAMES, "new-1": VideoKind.WEB, "new-2": VideoKind.EGO})
    assert len(held - more) <= 2
    with pytest.raises(DataError, match="100"):
        Numbers({VideoKind.EGO: 101}).held_out(NAMES)


def test_the_hash_is_that_of_the_documents() -> None:
    assert video_hash("v0") == 0x0270DA4DAAC514F3
    assert video_hash("clips/a") == video_hash(video_name("./clips/a.mp4#t=3.5"))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("./d/a.mp4", "d/a"),
        ("d\\a.mp4#t=3", "d/a"),
        ("./f/a/000001.jpg", "f/a"),
        ("f/a-0s_180s/%06d.jpg", "f/a"),
        ("f/a-180s_360s/000007.jpg", "f/a"),
        ("a.b.mp4", "a.b"),
        ("1106/7.mp4", "1106/7"),
        ("1106/8.mp4#t=3", "1106/8"),
        ("7.mp4", "7"),
    ],
)
def test_rows_of_one_video_have_one_name(written, name) -> None:
    assert video_name(written) == name


def sides(folder: Path, ending: str = "jsonl") -> tuple[list[bytes], list[bytes]]:
    train, held = (folder / f"{side}.{ending}" for side in ("train", "held_out"))
    return train.read_bytes().splitlines(True), held.read_bytes().splitlines(True)


def test_rows_stay_the_same_bytes_and_videos_whole(rows, tmp_path) -> None:
    counts = split_by_video(rows, tmp_path / "out", Numbers({VideoKind.WEB: 3, VideoKind.EGO: 2}))
    train, held = sides(tmp_path / "out")
    assert sorted(train + held) == sorted(rows.read_bytes().splitlines(True))
    named = [{json.loads(line)["video"] for line in side} for side in (train, held)]
    assert not named[0] & named[1]
    assert (len(named[1]), counts.num_videos["held_out"], counts.num_rows["held_out"]) == (5, 5, 15)
    assert len(json.loads((tmp_path / "out/split.json").read_text())["held_out_videos"]) == 5


def test_parquet_and_official_rows_are_split_alike(rows, tmp_path) -> None:
    words = ["--out", str(tmp_path / "x.parquet")]
    assert cli.main(["data", "convert", str(rows), *words]) == 0
    sft = tmp_path / "sft.jsonl"
    clock = ["--frame-interval-s", "2", "--frames-per-turn", "2", "--max-frames", "90"]
    to_sft = ["--to", "sft", "--out", str(sft), *clock]
    assert cli.main(["data", "convert", str(rows), *to_sft]) == 0
    for path in (rows, tmp_path / "x.parquet", sft):
        out = tmp_path / f"of-{path.name}"
        assert cli.main(["data", "split", str(path), "--out", str(out), "--frac", "0.3"]) == 0
    found = [
        json.loads((tmp_path / f"of-{name}/split.json").read_text())["held_out_videos"]
        for name in ("rows.jsonl", "x.parquet", "sft.jsonl")
    ]
    assert found[0] == found[1] == found[2]
    back = ["--out", str(tmp_path / "back.jsonl")]
    assert (
        cli.main(["data", "convert", str(tmp_path / "of-x.parquet/held_out.parquet"), *back]) == 0
    )
    first = json.loads((tmp_path / "back.jsonl").read_text("utf-8").splitlines()[0])
    assert first["provenance"] == {"where": "x, line 1", "steps": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either"),
        (["--frac", "0.5", "--hold-out", "web=1"], "give either"),
        (["--frac", "1"], "between 0 and 1"),
        (["--hold-out", "film=3"], "film=3"),
        (["--hold-out", "web=0"], "web=0"),
        (["--hold-out", "web=11"], "there are 10"),
        (["--hold-out", "other=1"], "there are 0"),
        (["--hold-out", "web=10", "ego=10"], "20 of the 20"),
        (["--frac", "0.0001"], "0 of the 20"),
    ],
)
def test_what_cannot_be_held_out_is_said(words, said, rows, tmp_path, capsys) -> None:
    assert cli.main(["data", "split", str(rows), "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_a_row_without_a_video_is_named(tmp_path, capsys) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("a.mp4")) + '\n\n{"messages": []}\n')
    assert cli.main(["data", "split", str(path), "--out", str(tmp_path), "--frac", "0.5"]) == 2
    assert f"{path}, line 3: it names no image" in capsys.readouterr().err


def test_bad_rows_are_an_error_or_listed(tmp_path, capsys) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.parquet"
    path.write_text(json.dumps(row("a.mp4")) + '\n{"row_id": "b"}\n')
    words = ["data", "convert", str(path), "--out", str(out)]
    assert cli.main(words) == 2
    assert "line 2: field 'video' is missing" in capsys.readouterr().err
    assert not out.exists()
    assert cli.main([*words, "--skip-bad-rows", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["num_bad_rows"] == 1
    assert "left out:" in said.err
    assert cli.main([*words[:-1], str(path)]) == 2
    assert "is a file that is read" in capsys.readouterr().err
    assert cli.main([*words[:-1], "x.jsonl", "--write-frames"]) == 2
    assert "--frames" in capsys.readouterr().err
    examples = ["--to", "examples", "--segment-s", "70"]
    clock = ["--frame-interval-s", "2", "--frames-per-turn", "2", "--max-frames", "90"]
    assert cli.main([*words, *examples, *clock]) == 2
    assert "20 to 60" in capsys.readouterr().err
