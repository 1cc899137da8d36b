"""Rows for retrieval: what is read, what is written, what is refused, and the tasks they set."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.data.choices import labelled
from oncue.data.retrieval_rows import (
    FREE_FORM,
    NoVideoError,
    RetrievalRow,
    read_row,
    read_rows,
    released_pool_size,
    row_lines,
    write_rows,
)
from oncue.errors import DataError
from oncue.types import Evidence, Question, Task, TimeSpan
from oncue.video.pool import frames_within

RELEASED: dict[str, Any] = {
    "problem_id": 17,
    "problem": "What does she hold?",
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ["A. a cup", "B. a book"],
    "solution": "<answer>B</answer>",
    "path": "./NExT/videos/7.mp4",
    "data_source": "NExT-GQA",
    "relevant_sample_frames": [9, 8],
}
ROW = RetrievalRow(
    row_id="17",
    question="What does she hold?",
    answer="B",
    video="./NExT/videos/7.mp4",
    options=("A. a cup", "B. a book"),
    source="NExT-GQA",
    frames=frozenset({8, 9}),
)
SPANS = (TimeSpan(4.0, 6.5), TimeSpan(20.0, 21.0))

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text == text.strip()
)
times = st.floats(0, 500, allow_nan=False)


@st.composite
def any_rows(draw: st.DrawFn) -> RetrievalRow:
    options = labelled(draw(st.one_of(st.just([]), st.lists(words, min_size=2, max_size=6))))
    num_frames = draw(st.one_of(st.none(), st.integers(1, 128)))
    frames = st.frozensets(st.integers(0, (num_frames or 64) - 1))
    return RetrievalRow(
        row_id=draw(words),
        question=draw(words),
        answer=draw(st.sampled_from("ABCDEF"[: len(options)]) if options else words),
        video=draw(words),
        options=options,
        problem_type="multiple choice" if options else draw(st.sampled_from(["OCR", FREE_FORM])),
        source=draw(words | st.just("")),
        task_type=draw(words | st.just("")),
        duration_s=draw(st.one_of(st.none(), st.floats(0.1, 1e5))),
        spans=tuple(
            TimeSpan(*sorted(pair)) for pair in draw(st.lists(st.tuples(times, times), max_size=3))
        ),
        frames=draw(frames if num_frames else st.one_of(st.none(), frames)),
        num_frames=num_frames,
    )


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(any_rows(), min_size=1, max_size=3), ending=st.sampled_from([".jsonl", ".json"])
)
def test_what_is_written_is_read_again(
    rows: list[RetrievalRow], ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / f"rows{ending}"
    write_rows(path, rows)
    assert list(read_rows(path)) == rows


@pytest.mark.parametrize("answer", ["a </answer> b", "</answer> x <answer>", "<answer>", "2.50"])
def test_an_answer_with_marks_in_it_is_read_again(answer: str, tmp_path: Path) -> None:
    row = replace(ROW, options=(), problem_type=FREE_FORM, answer=answer)
    write_rows(tmp_path / "rows.jsonl", [row])
    assert read_rows(tmp_path / "rows.jsonl") == (row,)


@pytest.mark.parametrize(
    "change",
    [
        {"row_id": " "},
        {"question": ""},
        {"video": ""},
        {"problem_type": ""},
        {"answer": "C"},
        {"answer": " b", "options": (), "problem_type": FREE_FORM},
        {"options": ("x", "y")},
        {"options": ("A. x",)},
        {"duration_s": float("inf")},
        {"spans": (TimeSpan(-1.0, 2.0),)},
        {"num_frames": 9},
    ],
    ids=str,
)
def test_no_row_can_be_made_that_could_not_be_read(change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        replace(ROW, **change)


def written(folder: Path, *rows: Any, name: str = "rows.json") -> Path:
    path = folder / name
    path.write_text(
        json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
    )
    return path


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_rows_of_the_released_form(name: str, tmp_path: Path) -> None:
    video_r1 = {
        **{key: RELEASED[key] for key in ("problem", "data_type", "path")},
        "problem_id": "VR-2",
        "problem_type": "numerical",
        "solution": "<answer>2.0</answer>",
        "process": "<think>Two.</think>",
    }
    path = written(tmp_path, RELEASED, video_r1, name=name)
    first, second = read_rows(path)
    assert first == ROW
    assert (second.row_id, second.answer, second.options) == ("VR-2", "2.0", ())
    assert (second.problem_type, second.frames, second.source) == ("numerical", None, "")


def test_an_array_whose_file_begins_with_a_mark_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(b"\xef\xbb\xbf \n" + json.dumps([RELEASED]).encode())
    assert read_rows(path) == (ROW,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"problem_id": None}, "'problem_id' must be"),
        ({"problem_id": True}, "'problem_id' must be"),
        ({"problem": " "}, "'problem' must be non-empty text"),
        ({"options": ["A. x", "C. y"]}, "in order, or none, got A, C"),
        ({"options": None}, "'options' is missing"),
        ({"solution": "<answer>C</answer>"}, "'solution' must be one of the letters A, B"),
        ({"path": 7}, "'path' must be non-empty text, got 7"),
        ({"data_source": 7}, "'data_source' must be text"),
        ({"relevant_sample_frames": [1.5]}, "'relevant_sample_frames' 1 must be a whole number, 0"),
        (
            {"relevant_sample_frames": [0, -1]},
            "'relevant_sample_frames' 2 must be a whole number, 0",
        ),
        ({"num_frames": 9}, "from 0 to 8"),
        ({"num_frames": 0}, "whole number, 1 or more"),
        ({"relevant_sample_frames": None, "num_frames": 9}, "needs 'relevant_sample_frames'"),
        ({"spans": [[3, 2]]}, "'spans' 1 ends before it starts"),
        ({"spans": [[-1, 2]]}, "must not begin before 0 s"),
        ({"spans": [3, 2]}, r"'spans' 1 must be \[start, end\]"),
        ({"duration": 0}, "more than 0 s"),
        ({"duration": float("nan")}, "a number of seconds"),
        ({"data_type": "image"}, "'data_type' must be 'video', got 'image'"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_used(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = written(tmp_path, RELEASED, RELEASED | change)
    with pytest.raises(DataError, match=rf"rows\.json, row 2: .*{said}"):
        read_rows(path)


def test_a_missing_field_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = written(tmp_path, {"problem_id": 1, "question": "?"}, name="rows.jsonl")
    with pytest.raises(
        DataError, match=r"line 1: field 'problem' is missing; it has problem_id, q"
    ):
        read_rows(path)


def test_all_faults_of_a_file_can_be_listed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good, picture = json.dumps(RELEASED), json.dumps(RELEASED | {"data_type": "image"})
    path.write_text(f"{good}\n\n[1]\n{picture}\n{{\n{good}\n")
    lines = list(row_lines(path))
    assert [line for line in lines if isinstance(line, RetrievalRow)] == [ROW, ROW]
    faults = [line for line in lines if isinstance(line, DataError)]
    places = [re.search(r"rows\.jsonl, line (\d)", str(fault)) for fault in faults]
    assert [place and place[1] for place in places] == ["3", "4", "5"]
    assert [isinstance(fault, NoVideoError) for fault in faults] == [False, True, False]


@pytest.mark.parametrize("text", ["", "[]", " \n"])
def test_a_file_without_rows(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match="holds no row"):
        read_rows(path)


@pytest.mark.parametrize("text", ["[1, 2", "[" * 100_000])
def test_a_file_that_is_no_json(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is not JSON"):
        read_rows(path)
    with pytest.raises(DataError, match="cannot read"):
        read_rows(tmp_path / "missing.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [ROW])

    def failing() -> Any:
        yield ROW
        raise DataError("stop")

    with pytest.raises(DataError, match="stop"):
        write_rows(path, failing())
    assert read_rows(path) == (ROW,)
    assert list(tmp_path.iterdir()) == [path]


def test_the_task_of_a_row() -> None:
    row = replace(ROW, frames=None, spans=SPANS, duration_s=40.0)
    evidence = Evidence(frames_within(SPANS, 128, 40.0), 128, SPANS)
    asked = (Question("What does she hold?"),)
    assert row.task(128) == Task(
        "17", asked, duration_s=40.0, options=row.options, answer="B", evidence=evidence
    )
    assert replace(row, spans=()).task(128).evidence is None


def test_the_duration_of_the_video_counts_before_that_of_the_row() -> None:
    row = replace(ROW, frames=None, spans=SPANS, duration_s=40.0)
    task = row.task(64, duration_s=80.0)
    assert task.duration_s == 80.0
    assert task.evidence == Evidence(frames_within(SPANS, 64, 80.0), 64, SPANS)
    assert task.evidence != row.task(64).evidence


@pytest.mark.parametrize(("duration_s", "size"), [(150, 64), (64.9, 64), (40.7, 40), (0.3, 1)])
def test_frames_without_a_pool_are_of_a_released_one(duration_s: float, size: int) -> None:
    assert released_pool_size(duration_s) == size
    row = replace(ROW, frames=frozenset({0}), duration_s=duration_s)
    assert row.task().evidence == Evidence(frozenset({0}), size)


def test_frames_of_one_pool_are_found_in_another() -> None:
    row = replace(ROW, frames=frozenset({8, 9}), num_frames=64)
    half, same, double = (row.task(size).evidence for size in (32, 64, 128))
    assert half == Evidence(frozenset({4}), 32)
    assert same == Evidence(frozenset({8, 9}), 64)
    assert double == Evidence(frozenset({16, 17, 18, 19}), 128)


def test_what_is_not_known_is_not_guessed() -> None:
    with pytest.raises(DataError, match="row '17': the size of the pool is not known"):
        ROW.task()
    with pytest.raises(DataError, match="the pool of its frames is not known; give duration_s"):
        ROW.task(128)
    spanned = replace(ROW, frames=None, spans=SPANS)
    with pytest.raises(DataError, match="the duration of the video is not known"):
        spanned.task(128)
    with pytest.raises(DataError, match=r"pool of 5 must lie from 0 to 4, got \[8, 9\]"):
        ROW.task(duration_s=5.0)


def test_the_video_is_found_at_the_longest_end_of_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row '17': the video \./NExT.* --videos"):
        ROW.video_in(tmp_path)
    short, long = tmp_path / "7.mp4", tmp_path / "videos" / "7.mp4"
    short.touch()
    assert ROW.video_in(tmp_path) == short
    long.parent.mkdir()
    long.touch()
    assert ROW.video_in(tmp_path) == long
    assert replace(ROW, video="x\\videos\\7.mp4").video_in(tmp_path) == long
    assert replace(ROW, video="../videos/7.mp4").video_in(tmp_path / "videos") == long
    assert replace(ROW, video=str(long)).video_in(tmp_path / "elsewhere") == long
    with pytest.raises(DataError, match="download it"):
        replace(ROW, video="https://host/7.mp4").video_in(tmp_path)


def test_a_row_may_be_read_from_a_value() -> None:
    assert read_row(RELEASED, "row") == ROW
    with pytest.raises(DataError, match="row: expected an object"):
        read_row([], "row")
