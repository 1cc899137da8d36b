"""NExT-GQA becomes rows: what is read, what is kept, which frames show the answer."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.data.curate.nextgqa import read_nextgqa
from oncue.data.curate.sieve import Dropped, Sieve, sift
from oncue.data.retrieval_rows import RetrievalRow, read_rows
from oncue.errors import ConfigError, DataError
from oncue.types import TimeSpan

HEAD = (
    "video_id",
    "frame_count",
    "question",
    "answer",
    "qid",
    "type",
    *(f"a{i}" for i in range(5)),
)
TEXTS = ("run", "sit", "eat", "sing", "sit")
REAL = Path(__file__).parents[3] / "shared" / "data" / "annotations" / "NExT-GQA"

# kept: 7 (of 30 s, covered by 14.9 s); dropped: too short, covered by half, nothing annotated
SEGMENTS: dict[str, Any] = {
    "7": {"duration": 30, "location": {"0": [[0.0, 9.9], [25.0, 30.6]], "1": [[0, 15]]}, "fps": 25},
    "8": {"duration": 29, "location": {"0": [[1, 2]]}, "fps": 25},
    "9": {"duration": 31, "location": {"0": [[1, 2]], "3": [[31, 32]]}, "fps": 25},
}
ASKED = (("7", "0"), ("7", "1"), ("8", "0"), ("9", "0"), ("9", "2"), ("9", "3"))
EXPECTED_DROPS = {
    Dropped.NO_SEGMENT: 1,
    Dropped.OUTSIDE: 1,
    Dropped.TOO_SHORT: 1,
    Dropped.TOO_COVERED: 2,
}


def table(folder: Path, asked: Sequence[tuple[str, str]] = ASKED, **changes: str) -> Path:
    path = folder / "val.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEAD)
        writer.writeheader()
        for video, qid in asked:
            row = {"video_id": video, "qid": qid, "question": f"what, {qid}", "type": "CW"}
            row |= {f"a{i}": text for i, text in enumerate(TEXTS)}
            writer.writerow(row | {"frame_count": "900", "answer": "eat"} | changes)
    return path


def gsub(folder: Path, segments: Mapping[str, Any] = SEGMENTS) -> Path:
    path = folder / "gsub_val.json"
    path.write_text(json.dumps(segments))
    return path


def rows_of(*paths: Path, **more: Any) -> list[RetrievalRow]:
    lines = read_nextgqa(paths, **more)
    faults = [line for line in lines if isinstance(line, DataError)]
    assert not faults, faults
    return [line for line in lines if isinstance(line, RetrievalRow)]


def test_questions_and_their_segments(tmp_path: Path) -> None:
    rows = rows_of(gsub(tmp_path), table(tmp_path))
    assert rows[0] == RetrievalRow(
        row_id="nextgqa_7_0",
        question="what, 0",
        answer="C",
        video="7.mp4",
        options=("A. run", "B. sit", "C. eat", "D. sing", "E. sit"),
        source="NExT-GQA",
        task_type="CW",
        duration_s=30.0,
        spans=(TimeSpan(0.0, 9.9), TimeSpan(25.0, 30.6)),
    )
    assert [row.row_id for row in rows] == [f"nextgqa_{video}_{qid}" for video, qid in ASKED]
    assert (rows[4].spans, rows[4].duration_s) == ((), None)


def test_what_is_kept_and_why_the_rest_is_not(tmp_path: Path) -> None:
    segments = json.loads(json.dumps(SEGMENTS))
    segments["7"]["location"]["0"] = [[0.0, 9.9], [25.0, 30.0]]
    rows = rows_of(gsub(tmp_path, segments), table(tmp_path))
    kept, counts = sift(rows, Sieve())
    assert [row.row_id for row in kept] == ["nextgqa_7_0", "nextgqa_9_0"]
    assert (counts.num_videos, counts.num_questions, counts.num_segments) == (3, 6, 6)
    assert counts.num_kept == 2
    assert counts.dropped == EXPECTED_DROPS | {Dropped.TOO_COVERED: 1}
    assert [row.row_id for row in sift(rows, Sieve(strict=True))[0]] == ["nextgqa_9_0"]
    assert [row.row_id for row in sift(rows, Sieve(0.0))[0]] == [
        "nextgqa_7_0",
        "nextgqa_8_0",
        "nextgqa_9_0",
    ]
    assert [row.row_id for row in sift(rows, Sieve(max_covered_frac=0.6))[0]] == [
        *("nextgqa_7_0", "nextgqa_7_1", "nextgqa_9_0")
    ]


def test_segments_are_added_up_as_they_are_annotated(tmp_path: Path) -> None:
    """Time after the rounded end of the video counts, and so does time that two share."""
    rows = rows_of(gsub(tmp_path), table(tmp_path))
    assert Sieve().why_dropped(rows[0]) is Dropped.TOO_COVERED  # 9.9 + 5.6 of 30 s
    shared = {"7": {"duration": 30, "location": {"0": [[0, 8], [1, 9]]}}}
    rows = rows_of(gsub(tmp_path, shared), table(tmp_path, [("7", "0")]))
    assert Sieve().why_dropped(rows[0]) is Dropped.TOO_COVERED


def test_the_frames_of_the_pool_that_show_the_answer(tmp_path: Path) -> None:
    segments = {"7": {"duration": 32, "location": {"0": [[8, 12], [20, 21]]}}}
    (row,) = rows_of(gsub(tmp_path, segments), table(tmp_path, [("7", "0")]))
    assert Sieve().finished(row).num_frames == 128
    found = Sieve(pool=64).finished(row)
    assert (found.frames, found.num_frames) == (frozenset({*range(16, 24), 40, 41}), 64)
    released = Sieve(pool="release").finished(row)
    assert (released.frames, released.num_frames) == (frozenset({8, 9, 10, 11, 20}), 32)
    assert (row.video, Sieve().finished(row, "NExTVideo/").video) == ("7.mp4", "NExTVideo/7.mp4")
    assert released.task().evidence == released.task(32).evidence


def test_a_map_says_where_videos_are(tmp_path: Path) -> None:
    places = tmp_path / "map_vid_vidorID.json"
    places.write_text(json.dumps({"7": "1106/7", "8": "1/8", "9": "2/9"}))
    rows = rows_of(gsub(tmp_path), table(tmp_path), video_map=places)
    assert [row.video for row in rows[:3]] == ["1106/7.mp4", "1106/7.mp4", "1/8.mp4"]
    places.write_text(json.dumps({"7": "1106/7"}))
    faults = [
        line
        for line in read_nextgqa((gsub(tmp_path), table(tmp_path)), places)
        if isinstance(line, DataError)
    ]
    assert len(faults) == 4
    assert "val.csv, line 4: the map of videos has no '8'" in str(faults[0])


VIDEOCHAT: dict[str, Any] = {
    "id": 3,
    "video": "1106/7.mp4",
    "question": "what?",
    "options": ["(A) run", "(B) sit"],
    "duration": 30.2,
    "glue": [[1.5, 4]],
    "type": "TC",
    "answer": "(B) sit",
}


def test_rows_of_videochat(tmp_path: Path) -> None:
    path = tmp_path / "nextgqa_val.json"
    path.write_text(json.dumps([VIDEOCHAT, VIDEOCHAT | {"answer": "C"}, 4]))
    row, wrong, number = read_nextgqa([path])
    assert row == RetrievalRow(
        row_id="nextgqa_7_3",
        question="what?",
        answer="B",
        video="1106/7.mp4",
        options=("A. run", "B. sit"),
        source="NExT-GQA",
        task_type="TC",
        duration_s=30.2,
        spans=(TimeSpan(1.5, 4.0),),
    )
    assert "nextgqa_val.json, row 2: 'answer' must be one of the letters A, B" in str(wrong)
    assert "row 3: expected an object" in str(number)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        (
            {"7": {"duration": 0, "location": {"0": [[1, 2]]}}},
            "'duration' must be a number of seconds, more than 0",
        ),
        ({"7": {"duration": "x", "location": {"0": [[1, 2]]}}}, "'duration' must be a number"),
        ({"7": {"duration": 9, "location": {"0": [[2, 1]]}}}, "'0' 1 ends before it starts"),
        ({"7": {"duration": 9, "location": {"0": [1, 2]}}}, "'0' 1 must be"),
        ({"7": {"duration": 9, "location": {"0": [[-1, 2]]}}}, "before 0 s"),
    ],
    ids=str,
)
def test_a_segment_that_cannot_be_used(segments: Any, said: str, tmp_path: Path) -> None:
    (fault,) = read_nextgqa((gsub(tmp_path, segments), table(tmp_path, [("7", "0")])))
    assert "gsub_val.json, video 7, question 0: " in str(fault)
    assert said in str(fault)


def test_questions_that_cannot_be_used(tmp_path: Path) -> None:
    one = {"7": {"duration": 30, "location": {"0": [[1, 2]]}}}
    (fault,) = read_nextgqa((table(tmp_path, [("7", "0")], answer="fly"), gsub(tmp_path, one)))
    assert "val.csv, line 2: 'answer' must be one of the letters" in str(fault)
    _, twice = read_nextgqa((table(tmp_path, [("7", "0"), ("7", "0")]), gsub(tmp_path, one)))
    assert "line 3: question 0 of 7 is there twice" in str(twice)
    strays = read_nextgqa((table(tmp_path, [("7", "0")]), gsub(tmp_path)))[1:]
    assert len(strays) == 4
    assert "video 7, question 1: none of the CSV files has this question" in str(strays[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("video_id,question\n7,what\n", "has no column answer, qid, type, a0"),
        ("", "it has none"),
        (",".join(HEAD) + "\n7,900,what\n", "line 2: expected 11 values"),
        (",".join(HEAD) + '\n7,"900\n', "as CSV"),
    ],
)
def test_a_table_that_is_none(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "val.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_nextgqa((path, gsub(tmp_path)))


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    for paths in ((table(tmp_path),), (gsub(tmp_path),)):
        with pytest.raises(DataError, match="no question of the files has a segment"):
            read_nextgqa(paths)
    other = gsub(tmp_path, {"70": SEGMENTS["7"]})
    with pytest.raises(DataError, match="no question of the files has a segment"):
        read_nextgqa((table(tmp_path), other))
    with pytest.raises(DataError, match="no file was given"):
        read_nextgqa(())
    with pytest.raises(DataError, match=r"cannot read .*missing\.json"):
        read_nextgqa((tmp_path / "missing.json",))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_nextgqa((tmp_path / "x.json",))
    (tmp_path / "x.json").write_text('{"7": {"duration": 3, "location": []}}')
    with pytest.raises(DataError, match="'location' must be an object"):
        read_nextgqa((tmp_path / "x.json",))


@pytest.mark.parametrize(
    "wrong", [{"min_duration_s": -1.0}, {"max_covered_frac": 0.0}, {"max_covered_frac": 1.5}]
)
def test_numbers_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"needs min_duration_s"):
        Sieve(**wrong)
    with pytest.raises(ConfigError, match="at least 1 frame"):
        Sieve(pool=0)


def curate(*words: object) -> int:
    return cli.main(["data", "curate", "nextgqa", *map(str, words)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, out = (table(tmp_path), gsub(tmp_path)), tmp_path / "made" / "rows.jsonl"
    assert curate(*files, "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "type": "summary",
        "source": "NExT-GQA",
        "num_videos": 3,
        "num_questions": 6,
        "num_segments": 6,
        "num_kept": 1,
        "dropped": {str(reason): number for reason, number in EXPECTED_DROPS.items()},
        "num_bad_rows": 0,
        "out": str(out),
    }
    (row,) = read_rows(out)
    assert (row.row_id, row.num_frames, row.duration_s) == ("nextgqa_9_0", 128, 31.0)
    assert curate(*files, "--out", out) == 0
    told = capsys.readouterr().out
    assert "NExT-GQA: 3 videos, 6 questions, 6 segments" in told
    assert "2 dropped: its segments cover 50% of the video or more" in told
    assert f"wrote 1 row to {out}" in told


def test_videos_without_a_question_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segments = gsub(tmp_path, {**SEGMENTS, "10": {"duration": 40, "location": {}}})
    assert curate(table(tmp_path), segments, "--out", tmp_path / "rows.jsonl") == 0
    assert "NExT-GQA: 4 videos, 6 questions, 6 segments" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--min-duration-s", "60"], "no question is kept"),
        (["--min-duration-s", "-1"], "min_duration_s >= 0"),
        (["--pool-frames", "all"], "--pool-frames"),
        (["--video-map", "nowhere.json"], "cannot read nowhere.json"),
    ],
)
def test_what_a_user_can_correct(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    assert curate(table(tmp_path), gsub(tmp_path), "--out", out, *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not out.exists()


def test_bad_rows_are_an_error_or_left_out_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (table(tmp_path, [("9", "0")]), gsub(tmp_path))
    out = tmp_path / "rows.jsonl"
    assert curate(*files, "--out", out) == 2
    assert "(and 3 more rows). Correct it, or" in capsys.readouterr().err
    assert curate(*files, "--out", out, "--skip-bad-rows", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["num_bad_rows"] == 4
    assert captured.err.count("left out: ") == 4
    assert curate(*files, "--out", files[0]) == 2
    assert "is a file that is read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sieve", "num_kept"), [(Sieve(), 1940), (Sieve(strict=True), 1901), (Sieve(0.0), 2949)]
)
def test_the_counts_of_the_real_split(sieve: Sieve, num_kept: int) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here; it is local test data, not part of the repository")
    rows = rows_of(REAL / "nextgqa_val.csv", REAL / "nextgqa_gsub_val.json")
    _, counts = sift(rows, sieve)
    assert (counts.num_questions, counts.num_segments) == (3358, 3931)
    assert counts.num_kept == num_kept
