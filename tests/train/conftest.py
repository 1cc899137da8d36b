"""A model in the other decision format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oncue.model.loading import LoadedModel
from oncue.render.qwen_vl import QwenVLRenderer


@pytest.fixture(scope="session")
def tiny_token_loaded(tiny_model_folder: Path, tiny_loaded: LoadedModel) -> LoadedModel:
    """The tiny model, shown turns in the token format."""
    return replace(
        tiny_loaded,
        renderer=QwenVLRenderer.from_pretrained(tiny_model_folder, decision_name="token"),
    )
