"""`oncue render`: the text, the mask and the ids of a written dialogue."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oncue import cli
from oncue.dialogue.show import show_dialogue
from oncue.errors import DialogueError
from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.tiny_tokenizer import save_tokenizer
from oncue.video.writer import write_video

EXPECTED = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<image><image>Tell me.<|im_end|>\n"
    "<|im_start|>assistant\n⟦NO REPLY<|im_end|>⟧\n"
    "<|im_start|>user\n<image><|im_end|>\n"
    "<|im_start|>assistant\n⟦A cube.<|im_end|>⟧\n"
)


@pytest.fixture
def row_path(tmp_path: Path) -> Path:
    row = {
        "messages": [
            {"role": "user", "content": "<image><image>Tell me."},
            {"role": "assistant", "content": "NO REPLY"},
            {"role": "user", "content": "<image>"},
            {"role": "assistant", "content": "A cube."},
        ],
        "images": [{"path": f"{k}.png"} for k in range(3)],
    }
    path = tmp_path / "row.json"
    path.write_text(json.dumps(row), "utf-8")
    return path


@pytest.fixture(scope="session")
def show_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show_model")
    save_tokenizer(["Tell me. A cube."], 320, folder)
    FrameProcessor().save_pretrained(folder)
    return folder


def shown(path: Path, **more: Any) -> str:
    out = io.StringIO()
    show_dialogue(path, **({"model": None, "mask": False, "ids": False, "out": out} | more))
    return out.getvalue()


def test_the_text_needs_neither_model_nor_images(row_path: Path) -> None:
    assert shown(row_path) == EXPECTED.replace("⟦", "").replace("⟧", "")
    assert shown(row_path, mask=True) == EXPECTED


def test_ids_are_those_of_the_renderer(row_path: Path, show_folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 60, 90, 3), np.uint8)
    for k, frame in enumerate(pixels):
        Image.fromarray(frame).save(row_path.parent / f"{k}.png")
    lines = [
        line.split("\t")
        for line in shown(row_path, model=show_folder, ids=True, mask=True).splitlines()
    ]
    renderer = QwenVLRenderer.from_pretrained(show_folder)
    trained = [int(i) for i, flag in lines if flag == "1"]
    assert trained == [*renderer.silence_ids, *renderer.encode("A cube."), renderer.im_end_id]
    assert sum(
        int(i) == renderer.image_pad_id for i, _ in lines
    ) == 3 * renderer.frame_processor.token_count(60, 90)
    sized = shown(row_path, model=show_folder, ids=True, frame_size=(90, 60)).splitlines()
    assert sized == [i for i, _ in lines]
    assert len(
        shown(row_path, model=show_folder, ids=True, frame_size=(640, 480)).splitlines()
    ) > len(lines)
    huge = shown(
        row_path, model=show_folder, ids=True, frame_size=(900_000, 600_000)
    )  # as pixels: 1.6 TB
    assert huge == shown(row_path, model=show_folder, ids=True, frame_size=(9_000, 6_000))


def test_ids_without_what_they_need_are_explained(row_path: Path, show_folder: Path) -> None:
    with pytest.raises(DialogueError, match="name one with --model"):
        shown(row_path, ids=True)
    with pytest.raises(DialogueError, match=r"no image .*0\.png; .*--frame-size"):
        shown(row_path, ids=True, model=show_folder)
    for k in range(3):
        (row_path.parent / f"{k}.png").write_text("no image")
    with pytest.raises(DialogueError, match=r"0\.png is not an image.*--frame-size"):
        shown(row_path, ids=True, model=show_folder)
    with pytest.raises(DialogueError, match="must be positive"):
        shown(row_path, ids=True, model=show_folder, frame_size=(0, 9))
    row_path.write_text(
        json.dumps({k: v for k, v in json.loads(row_path.read_text()).items() if k != "images"})
    )
    with pytest.raises(DialogueError, match="shows 3 frames but lists no images"):
        shown(row_path, ids=True, model=show_folder)


def test_moments_of_a_video_are_frames_like_any(row_path: Path, show_folder: Path) -> None:
    row = json.loads(row_path.read_text())
    row["images"] = [{"path": f"clip.mp4#t={k + 1}"} for k in range(3)]
    row_path.write_text(json.dumps(row))
    with pytest.raises(DialogueError, match=r"clip\.mp4 .*--frame-size"):
        shown(row_path, ids=True, model=show_folder)
    write_video(row_path.parent / "clip.mp4", np.zeros((3, 60, 90, 3), np.uint8), 1.0)
    ids = {"ids": True, "model": show_folder}
    assert (
        shown(row_path, **ids)
        == shown(row_path, **ids, frame_size=(90, 60))
        != shown(row_path, **ids, frame_size=(640, 480))
    )


def test_the_token_format_is_shown_on_request_or_where_the_model_speaks_it(
    row_path: Path, show_folder: Path
) -> None:
    assert shown(row_path, mask=True, decision_name="token") == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nTell me.\n<image><image>⟦<|vision_start|>⟧<image>⟦<|im_end|>⟧\n"
        "<|im_start|>assistant\n⟦A cube.<|im_end|>⟧\n"
    )
    ids = {"model": show_folder, "ids": True, "mask": True, "frame_size": (90, 60)}
    asked = shown(row_path, **ids, decision_name="token")
    renderer = QwenVLRenderer.from_pretrained(show_folder, decision_name="token")
    assert [line.split("\t")[0] for line in asked.splitlines() if line.endswith("\t1")] == [
        str(i)
        for i in (
            renderer.vision_start_id,
            renderer.im_end_id,
            *renderer.encode("A cube."),
            renderer.im_end_id,
        )
    ]
    assert shown(row_path, **ids) != asked


def test_a_choice_that_is_not_the_next_token_is_a_third_column(
    row_path: Path, show_folder: Path
) -> None:
    row = json.loads(row_path.read_text())
    row["messages"][2]["content"] = "<image>And now?"
    row_path.write_text(json.dumps(row))
    ids = {"model": show_folder, "ids": True, "mask": True, "frame_size": (90, 60)}
    renderer = QwenVLRenderer.from_pretrained(show_folder)
    third = [
        line
        for line in shown(row_path, **ids, decision_name="token").splitlines()
        if line.count("\t") == 2
    ]
    assert third == [f"{renderer.encode('And now?')[0]}\t1\t{renderer.vision_start_id}"]
    assert not any(line.count("\t") == 2 for line in shown(row_path, **ids).splitlines())


@pytest.mark.parametrize("flag", ["--model mini", "--frame-size 90 60", "--max-pixels 9999"])
def test_flags_for_ids_are_refused_without_them(
    flag: str, row_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["render", str(row_path), *flag.split()]
    assert cli.main(words) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        f"oncue: {flag.split()[0]} is for token ids; leave it out, or add --ids\n",
    )
    assert cli.main([*words, "--ids", "--frame-size", "90", "60"]) == 0
    assert capsys.readouterr().out.split()
