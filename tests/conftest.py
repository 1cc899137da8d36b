"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiny_model import build_tiny_model

if TYPE_CHECKING:
    from oncue.policy.model import LoadedModel

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach the network


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model. Read only: copy it before changing anything."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model_folder: Path) -> LoadedModel:
    """The tiny model on the CPU in float32, on one thread."""
    import torch

    from oncue.policy.model import load_model

    torch.set_num_threads(1)
    return load_model(tiny_model_folder, device="cpu", dtype="float32")
