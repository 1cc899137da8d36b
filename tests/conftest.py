"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiny_model import FAMILIES, build_tiny_model

if TYPE_CHECKING:
    from oncue.model.loading import LoadedModel

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach the network
# Nor speaks one TLS: without certificates a client of a chat server is made 60 ms sooner
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model. Read only: copy it before changing anything."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session", params=FAMILIES)
def family_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model of each family. Read only."""
    return build_tiny_model(tmp_path_factory.mktemp(request.param), family=request.param)


@pytest.fixture(scope="session")
def family_loaded(family_folder: Path) -> LoadedModel:
    """A tiny model of each family on the CPU in float32, on one thread."""
    import torch

    from oncue.model.loading import load_model

    torch.set_num_threads(1)
    return load_model(family_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model_folder: Path) -> LoadedModel:
    """The tiny model on the CPU in float32, on one thread."""
    import torch

    from oncue.model.loading import load_model

    torch.set_num_threads(1)
    return load_model(tiny_model_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def tiny_token_loaded(tiny_model_folder: Path, tiny_loaded: LoadedModel) -> LoadedModel:
    """The tiny model, shown turns in the token format."""
    from oncue.render.qwen_vl import QwenVLRenderer

    renderer = QwenVLRenderer.from_pretrained(tiny_model_folder, decision_name="token")
    return replace(tiny_loaded, renderer=renderer)


@pytest.fixture(scope="module")
def each_curve_once() -> Iterator[None]:
    """Drawing takes a third of the time of a small run; see `drawn_once`."""
    from drawn_once import curves_drawn_once

    with curves_drawn_once():
        yield
