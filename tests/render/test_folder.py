"""Model folders: what is missing or contradictory is said in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oncue.errors import ConfigError, ModelError, ModelWarning
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.tiny_tokenizer import train_tokenizer


@pytest.fixture
def copied(render_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(render_folder, tmp_path / "model"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model folder '.*/nowhere'; give a folder"):
        QwenVLRenderer.from_pretrained(tmp_path / "nowhere")


def test_a_folder_without_tokenizer_is_refused(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        QwenVLRenderer.from_pretrained(copied)


def test_a_broken_tokenizer_is_refused(copied: Path) -> None:
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        QwenVLRenderer.from_pretrained(copied)


def test_a_tokenizer_of_another_family_is_refused(copied: Path) -> None:
    text = (copied / "tokenizer.json").read_text("utf-8").replace("<|vision_start|>", "<|other|>")
    (copied / "tokenizer.json").write_text(text, "utf-8")
    with pytest.raises(ModelError, match=r"has no token <\|vision_start\|>"):
        QwenVLRenderer.from_pretrained(copied)


def test_marks_that_text_could_forge_are_refused(copied: Path) -> None:
    stored = json.loads((copied / "tokenizer.json").read_text("utf-8"))
    for token in stored["added_tokens"]:
        token["special"] = token["content"] != "<|image_pad|>" and token["special"]
    (copied / "tokenizer.json").write_text(json.dumps(stored), "utf-8")
    with pytest.raises(ModelError, match=r"does not mark <\|image_pad\|> as special"):
        QwenVLRenderer.from_pretrained(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_token_id": 3}, "image_token_id = 3, but the tokenizer has"),
        ({"vision_start_token_id": 3}, "vision_start_token_id = 3"),
        ({"vision_config": {"patch_size": 16}}, "patch_size 16, the image processor has 14"),
    ],
)
def test_a_config_that_contradicts_is_refused(
    copied: Path, change: dict[str, object], message: str
) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message):
        QwenVLRenderer.from_pretrained(copied)


@pytest.mark.parametrize("name", ["config.json", "oncue.json", "preprocessor_config.json"])
@pytest.mark.parametrize("text", ["[]", '[["image_token_id", 3]]', "null", "{"])
def test_a_file_that_holds_no_object_is_refused(copied: Path, name: str, text: str) -> None:
    (copied / name).write_text(text)
    with pytest.raises(
        ModelError, match=rf"{name} (must hold a JSON object|cannot be read as JSON)"
    ):
        QwenVLRenderer.from_pretrained(copied)


def test_image_settings_that_are_no_object_are_refused(copied: Path) -> None:
    (copied / "processor_config.json").write_text('{"image_processor": [1]}')
    with pytest.raises(ModelError, match="image_processor must be an object"):
        QwenVLRenderer.from_pretrained(copied)


def test_the_cap_can_be_given(render_folder: Path) -> None:
    renderer = QwenVLRenderer.from_pretrained(render_folder, max_pixels=16 * 28 * 28)
    assert renderer.frame_processor.token_count(720, 1280) <= 16


def test_without_a_cap_a_frame_has_no_more_tokens_than_mmduet2_was_trained_with(
    copied: Path,
) -> None:
    """The folders of Qwen2.5-VL, and what was trained from it, allow 16384 tokens a frame."""
    limits = {"min_pixels": 3136, "max_pixels": 12845056}
    (copied / "preprocessor_config.json").write_text(json.dumps(limits))
    assert QwenVLRenderer.from_pretrained(copied).frame_processor.token_count(360, 640) == 120
    given = QwenVLRenderer.from_pretrained(copied, max_pixels=12845056)
    assert given.frame_processor.token_count(360, 640) == 299
    with pytest.raises(ConfigError, match="max 0"):
        QwenVLRenderer.from_pretrained(copied, max_pixels=0)


def test_the_cap_counts_vision_tokens_whatever_their_size(copied: Path) -> None:
    """A vision token of Qwen3-VL covers 32x32 pixels."""
    sizes = {"patch_size": 16, "size": {"shortest_edge": 65536, "longest_edge": 16777216}}
    (copied / "preprocessor_config.json").write_text(json.dumps(sizes))
    (copied / "config.json").unlink()
    frames = QwenVLRenderer.from_pretrained(copied).frame_processor
    assert frames.max_pixels == 128 * 32 * 32
    assert [frames.token_count(h, w) for h, w in ((720, 1280), (480, 640), (100, 100))] == [
        120,
        117,
        64,
    ]
    (copied / "preprocessor_config.json").write_text(
        json.dumps(sizes | {"size": {"longest_edge": 20 * 32 * 32}})
    )
    assert (
        QwenVLRenderer.from_pretrained(copied).frame_processor.max_pixels == 20 * 32 * 32
    )  # a smaller cap stays


def test_a_least_size_does_not_lift_the_limit_of_vision_tokens(copied: Path) -> None:
    (copied / "preprocessor_config.json").write_text(json.dumps({"min_pixels": 256 * 28 * 28}))
    with pytest.warns(ModelWarning, match="above the limit of 100352"):
        frames = QwenVLRenderer.from_pretrained(copied).frame_processor
    assert (
        max(frames.token_count(h, w) for h, w in ((100, 100), (100, 300), (360, 640), (2000, 2000)))
        == 121
    )


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt", "oncue.json"])
def test_a_pointer_in_place_of_a_file_is_named(copied: Path, name: str) -> None:
    if name in ("vocab.json", "merges.txt"):
        (copied / "tokenizer.json").unlink()
        (copied / "vocab.json").write_text("{}")
        (copied / "merges.txt").write_text("#version: 0.2\n")
    (copied / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(
        ModelError, match=rf"{name} is a Git LFS pointer, not the file itself; run git lfs pull"
    ):
        QwenVLRenderer.from_pretrained(copied)


def test_a_vocabulary_in_two_files_gives_the_same_ids(
    copied: Path, renderer: QwenVLRenderer
) -> None:
    """Some folders hold vocab.json and merges.txt instead of tokenizer.json."""
    stored = json.loads((copied / "tokenizer.json").read_text("utf-8"))
    (copied / "vocab.json").write_text(json.dumps(stored["model"]["vocab"]), "utf-8")
    merges = [" ".join(m) if isinstance(m, list) else m for m in stored["model"]["merges"]]
    (copied / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    settings = json.loads((copied / "tokenizer_config.json").read_text("utf-8"))
    settings["added_tokens_decoder"] = {
        str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in stored["added_tokens"]
    }
    (copied / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    (copied / "tokenizer.json").unlink()
    other = QwenVLRenderer.from_pretrained(copied)
    text = "Tell me it's 12 <|im_end|> now"
    assert other.encode(text) == renderer.encode(text)
    assert other.silence_ids == renderer.silence_ids


def test_training_a_tokenizer_is_reproducible_and_bounded() -> None:
    texts = [
        "A red square appears on the left and leaves again. " * 3,
        "Tell me whenever something moves.",
    ]
    first, second = train_tokenizer(texts, 330), train_tokenizer(texts, 330)
    assert first.get_vocab() == second.get_vocab()
    assert len(first) <= 330
    with pytest.raises(ConfigError, match="vocab_size must be at least"):
        train_tokenizer(texts, 200)


def test_rendering_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, oncue.render.qwen_vl, oncue.dialogue.show; "
        "print(*{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
