"""Rows of the official SFT format, and what is said about those that break it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oncue.dialogue.rows import read_row, read_rows
from oncue.errors import DialogueError
from oncue.types import DialogueTurn

USER, SILENT = (
    {"role": "user", "content": "<image>hi"},
    {"role": "assistant", "content": "NO REPLY"},
)


def good() -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "<image><image>Tell me.\nNow"},
            SILENT,
            {"role": "user", "content": "<image>"},
            {"role": "assistant", "content": "A cube."},
        ],
        "images": [{"path": "./data/1.jpg"}, {"path": "./data/2.jpg"}, "3.jpg"],
        "metadata": {"question_id": "q7", "video_id": "v1"},
    }


def test_a_row_is_read() -> None:
    dialogue, images = read_row(good())
    assert dialogue.dialogue_id == "q7"
    assert dialogue.turns[1] == DialogueTurn("user", "Tell me.\nNow", 2)
    assert dialogue.turns[3] == DialogueTurn("user", "", 1)
    assert dialogue.trained == (False, False, True, False, True)
    assert images == (Path("data/1.jpg"), Path("data/2.jpg"), Path("3.jpg"))


def test_history_can_be_left_out_of_the_loss() -> None:
    row = good()
    row["messages"][2] = SILENT | {"loss": False}
    assert read_row(row)[0].trained == (False, False, False, False, True)


def test_images_may_be_left_out() -> None:
    row = good()
    del row["images"], row["metadata"]
    assert read_row(row)[1] == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "3 <image> marks, but 0 images"),
        ({"images": ["a", "b"]}, "3 <image> marks, but 2 images"),
        ({"images": "a"}, "'images' must be a list"),
        ({"images": ["a", "b", {"file": "c"}]}, "image 3: must be a path or an object"),
        ({"metadata": "v1"}, "'metadata' must be an object"),
        (
            {"videos": ["a.mp4"]},
            r"rows with videos are not supported, got \['a.mp4'\]; list frames as images",
        ),
        ({"audios": ["a.wav"]}, "rows with audios"),
        (
            {"messages": [{"role": "user", "content": "<video>hi"}]},
            "message 1: <video> marks are not supported",
        ),
        (
            {"messages": [{"role": "user", "content": "<image>hi <video>"}]},
            "message 1: <video> marks",
        ),
        ({"messages": [{"role": "user", "content": "<audio>hi"}]}, "message 1: <audio> marks"),
        (
            {"images": ["a", "b", "data:image/png;base64,AAAA"]},
            "'images' 3 must be the path of a file, got 'data:image",
        ),
        (
            {"images": [{"path": "https://x.org/a.jpg"}, "b", "c"]},
            "image 1: must be the path .*; download it",
        ),
        ({"messages": []}, "'messages' must be a list that is not empty"),
        ({"messages": "hello"}, "'messages' must be a list, got 'hello'"),
        ({"messages": ["hello"]}, "message 1: expected an object"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "'user' or 'assistant', got 'tool'",
        ),
        ({"messages": [{"content": "x"}]}, "message 1: field 'role' is missing; it has content"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "1: 'content' must be text",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "show a frame or say something"),
        (
            {"messages": [USER, SILENT | {"content": " "}]},
            "message 2: an assistant message must not be empty",
        ),
        ({"messages": [SILENT]}, "message 1: an assistant message must answer"),
        ({"messages": [USER, SILENT, SILENT]}, "message 3: an assistant message must answer"),
        (
            {"messages": [USER, {"role": "system", "content": "S"}]},
            "system message must be the first",
        ),
        ({"messages": [{"role": "system", "content": "S"}]}, "at least one user message"),
        (
            {"messages": [{"role": "system", "content": "<image>S"}]},
            "only user messages show frames",
        ),
        (
            {"messages": [{"role": "user", "content": "look: <image>"}]},
            "must come before the text",
        ),
        ({"messages": [USER | {"loss": True}]}, "true only for assistant"),
    ],
)
def test_a_broken_row_is_explained(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DialogueError, match=message):
        read_row(good() | change)


def write(path: Path, *values: Any) -> Path:
    path.write_text("\n".join(v if isinstance(v, str) else json.dumps(v) for v in values), "utf-8")
    return path


def test_rows_are_chosen_by_number(tmp_path: Path) -> None:
    other = good() | {"metadata": {"question_id": "q8"}}
    lines = write(tmp_path / "rows.jsonl", good(), "", other)
    listed = write(tmp_path / "rows.json", [good(), other])
    assert read_row(lines, 3)[0].dialogue_id == "q8"
    assert read_row(listed, 2)[0].dialogue_id == "q8"
    assert read_row(write(tmp_path / "one.json", good()))[0].dialogue_id == "q7"
    assert [d.dialogue_id for d, _ in read_rows(lines)] == ["q7", "q8"]
    for path in (lines, listed):
        with pytest.raises(DialogueError, match=r"holds several rows; choose one with --row"):
            read_row(path)
        with pytest.raises(DialogueError, match="has no row 9"):
            read_row(path, 9)


def test_errors_name_the_row(tmp_path: Path) -> None:
    lines = write(tmp_path / "rows.jsonl", good(), good() | {"images": []}, "{oops")
    with pytest.raises(DialogueError, match=r"row 2 of .*rows\.jsonl: 3 <image> marks"):
        read_row(lines, 2)
    with pytest.raises(DialogueError, match=r"row 3 of .*rows\.jsonl is not valid JSON"):
        read_row(lines, 3)
    with pytest.raises(DialogueError, match="row 2 of"):
        list(read_rows(lines))


def test_files_that_hold_no_row_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DialogueError, match="there is no dialogue file"):
        read_row(tmp_path / "none.json")
    with pytest.raises(DialogueError, match="is not valid JSON"):
        read_row(write(tmp_path / "empty.json", ""))
    with pytest.raises(DialogueError, match="has no row"):
        read_row(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DialogueError, match="holds no row"):
        list(read_rows(write(tmp_path / "list.json", [])))
    with pytest.raises(
        DialogueError, match=r"row 1 of .*: expected an object with named fields, got 3"
    ):
        read_row(write(tmp_path / "number.json", "3"))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DialogueError, match="cannot be read as UTF-8"):
        read_row(tmp_path / "binary.json")


def test_images_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/2.jpg").touch()
    _, images = read_row(write(tmp_path / "row.json", good()))
    assert images == (Path("data/1.jpg"), tmp_path / "data/2.jpg", Path("3.jpg"))


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("file:///d/my%20clip.mp4#t=2.5", "/d/my clip.mp4#t=2.5"),
        ("file://localhost/d/a.png", "/d/a.png"),
        ("file:/d/a.png", "/d/a.png"),
        ("file://d/a.png", "d/a.png"),
        ("my%20clip/a.png", "my%20clip/a.png"),
        ("~/a.png", str(Path("~/a.png").expanduser())),
        ("~a.png", "~a.png"),
        ("C:\\d\\a.png", "C:\\d\\a.png"),
    ],
)
def test_a_path_may_be_written_as_an_address_of_a_file(named: str, path: str) -> None:
    assert read_row(good() | {"images": ["1.jpg", named, {"path": named}]})[1] == (
        Path("1.jpg"),
        Path(path),
        Path(path),
    )
