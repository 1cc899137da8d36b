"""Offline questions: every published form is read, frames lie evenly, wrong rows are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oncue.clock import Clock
from oncue.data.mixed_source import forget_files
from oncue.data.offline_source import OfflineSource
from oncue.errors import ConfigError, DataError
from row_videos import number_of, numbered_video

CLOCK = Clock(2.0)
ANSWER = {"role": "assistant", "content": "A cup."}
LLAVA = {
    "id": "a", "data_source": "x", "video": "p/a.mp4",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup."},
        {"from": "human", "value": "And now?"}, {"from": "gpt", "value": "None."},
    ],
}  # fmt: skip


def tarsier(**video: Any) -> dict[str, Any]:
    film = {
        "video_file": "p/a.mp4", "start_time": None, "end_time": None, "start_frame": None,
        "frame_indices": None, **video,
    }  # fmt: skip
    parts = [{"type": "video", "video": film}, {"type": "text", "text": "Describe it."}]
    said = [{"type": "text", "text": "A cup."}]
    return {"idx": "d7", "messages": [
        {"role": "user", "content": parts}, {"role": "assistant", "content": said},
    ]}  # fmt: skip


def marked(text: str, **media: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, ANSWER], **media}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 4 s, a picture, and a folder of ten frames."""
    made = tmp_path_factory.mktemp("offline")
    (made / "p" / "frames").mkdir(parents=True)
    numbered_video(made / "p" / "a.mp4", 40)
    Image.new("RGB", (40, 30), (60, 60, 60)).save(made / "p" / "one.png")
    for n in range(10):
        Image.new("RGB", (40, 30), (6 * n,) * 3).save(made / "p" / "frames" / f"{n:03d}.png")
    return made


def item(folder: Path, row: Any, most: int = 4, **options: Any) -> tuple[Any, list[int]]:
    """The dialogue of a row, and the numbers of the frames it shows."""
    forget_files()
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    dialogue, frames = OfflineSource((path,), most, **options).item(0, 0, CLOCK, 2)
    assert dialogue.num_frames == len(frames)
    return dialogue, [number_of(pixels) for pixels in frames]


def test_a_row_of_llava_video_is_a_dialogue_in_the_default_template(folder: Path) -> None:
    dialogue, numbers = item(folder, LLAVA)
    assert dialogue.dialogue_id == "a"
    assert [(t.role, t.text, t.num_frames) for t in dialogue.turns] == [
        ("user", "What?", 4), ("assistant", "A cup.", 0),
        ("user", "And now?", 0), ("assistant", "None.", 0),
    ]  # fmt: skip
    assert dialogue.trained == (False, True, False, True)
    assert numbers == [5, 15, 25, 35]  # the middles of four equal parts


@pytest.mark.parametrize(
    ("video", "numbers"),
    [
        ({}, [5, 15, 25, 35]),
        ({"start_time": 1, "end_time": 3}, [15, 25]),  # one a second
        ({"start_time": 3.0}, [35]),
        ({"start_frame": 20, "end_frame": 40}, [25, 35]),
        ({"frame_indices": [0, 7, 11, 30, 39]}, [0, 7, 11, 39]),  # at most four, evenly
        ({"time_indices": [0.5, 1.5]}, [5, 15]),
        ({"video_file": "p/frames"}, [0, 3, 6, 9]),
        ({"video_file": ["p/frames/002.png", "p/frames/004.png"]}, [2, 4]),
    ],
)
def test_tarsier_rows_show_what_they_name(
    folder: Path, video: dict[str, Any], numbers: list[int]
) -> None:
    dialogue, shown = item(folder, tarsier(**video))
    assert [t.text for t in dialogue.turns] == ["Describe it.", "A cup."]
    assert shown == numbers


@pytest.mark.parametrize(
    ("row", "lead", "text", "numbers"),
    [
        (marked("<video>Who?", videos=["p/a.mp4"]), "", "Who?", [5, 15, 25, 35]),
        (marked("Who?", videos="p/a.mp4"), "", "Who?", [5, 15, 25, 35]),  # marks come first
        (marked("See <video>\nWho?", videos=["p/a.mp4"]), "See ", "Who?", [5, 15, 25, 35]),
        (marked("<image><video>Who?", videos=["p/a.mp4"], images=["p/one.png"]), "", "Who?",
         [10, 5, 15, 25, 35]),
        (marked("<video><image>Who?", videos=[{"path": "p/a.mp4"}], images="p/one.png"), "",
         "Who?", [5, 15, 25, 35, 10]),
        (marked("<image>Who?", images=[{"path": "p/one.png"}]), "", "Who?", [10]),
        (marked("<video>Who?", videos=[["p/frames/001.png", "p/frames/009.png"]]), "", "Who?",
         [1, 9]),
    ],
)  # fmt: skip
def test_rows_with_videos_and_images(
    folder: Path, row: dict[str, Any], lead: str, text: str, numbers: list[int]
) -> None:
    dialogue, shown = item(folder, row)
    assert (dialogue.turns[0].lead, dialogue.turns[0].text) == (lead, text)
    assert shown == numbers


def test_paths_are_found_below_another_folder_too(folder: Path, tmp_path: Path) -> None:
    row = {**LLAVA, "video": "/of/another/machine/p/a.mp4"}
    assert item(folder, row, videos=folder)[1] == [5, 15, 25, 35]
    assert item(tmp_path, row, 2, videos=folder)[1] == [10, 30]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**LLAVA, "video": "p/gone.mp4"}, "the video p/gone.mp4 is not in"),
        (marked("<video><video>Who?", videos=["p/a.mp4"]), "nothing is left for its <video> mark"),
        (marked("<video>Who?", videos=["p/a.mp4"] * 2), "1 marks, but 2 videos and images"),
        (marked("<video>Who? <video>", videos=["p/a.mp4"] * 2), "without text between them"),
        (marked("Who?", videos=[3]), "videos 1: expected a path, got 3"),
        ({"messages": [ANSWER]}, "roles must be user and assistant in turn"),
        ({"messages": [{"role": "user", "content": "x"}]}, "an answer last"),
        ({"messages": [{"role": "tool", "content": "x"}, ANSWER]}, "expected a role of"),
        (marked(""), "the message is empty"),
        ({"id": 1}, "'conversations' is missing"),
        (tarsier(start_time=3, end_time=2), "end_time must be after start_time"),
        (tarsier(start_time=9), "ends at 4 s, before the part from 9 s on"),
        (tarsier(frame_indices=[]), "must not be an empty list"),
        (tarsier(video_file=None), "'video_file'"),
        (3, "expected a question about a video"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_row(folder: Path, row: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        item(folder, row)
    assert str(caught.value).startswith(f"{folder / 'rows.jsonl'}, line 1")


def test_the_check_before_a_run_finds_the_same_rows(folder: Path) -> None:
    forget_files()
    path = folder / "many.json"  # an array
    path.write_text(json.dumps([LLAVA, {**LLAVA, "video": "p/gone.mp4"}, tarsier(), {"id": 1}]))
    wrong = []
    for check in OfflineSource((path,), 4).checks():
        try:
            check()
        except DataError as error:
            wrong.append(str(error))
    assert [line.partition(":")[0].partition(", mess")[0] for line in wrong] == [
        f"{path}, row 2", f"{path}, row 4",
    ]  # fmt: skip


def test_settings_that_show_nothing_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="max_frames >= 1"):
        OfflineSource((folder / "a",), 0)


def test_frames_are_shrunk_as_they_are_read(folder: Path) -> None:
    forget_files()
    (folder / "rows.jsonl").write_text(json.dumps(LLAVA))
    source = OfflineSource((folder / "rows.jsonl",), 3)
    _, frames = source.item(0, 0, CLOCK, 2, lambda pixels: np.ascontiguousarray(pixels[::2, ::2]))
    assert {frame.shape for frame in frames} == {(32, 80, 3)}
