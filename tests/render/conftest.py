"""A model folder without weights: the small tokenizer, an image processor and a config, as the
renderer reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS, QwenVLRenderer
from oncue.render.tiny_tokenizer import save_tokenizer

TEXTS = (
    "Tell me whenever something appears on the left. A red square appears. It leaves. How many are "
    "there now?",
    "You are a helpful assistant. The person puts the bottle on the table, then it's gone.",
)


@pytest.fixture(scope="session")
def render_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render_model")
    tokenizer = save_tokenizer(TEXTS, 400, folder)
    FrameProcessor(max_pixels=MMDUET2_MAX_PIXELS).save_pretrained(folder)
    config = {
        "model_type": "qwen2_5_vl",
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_config": {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2},
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


@pytest.fixture(scope="session")
def renderer(render_folder: Path) -> QwenVLRenderer:
    return QwenVLRenderer.from_pretrained(render_folder)


@pytest.fixture(scope="session")
def token_renderer(render_folder: Path) -> QwenVLRenderer:
    """The same model's renderer in the token format."""
    return QwenVLRenderer.from_pretrained(render_folder, decision_name="token")
