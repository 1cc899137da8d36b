"""A short clip."""

from __future__ import annotations

from pathlib import Path

import pytest
from ask_support import make_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds, ten pictures a second, each a little lighter."""
    return make_clip(tmp_path_factory.mktemp("clip") / "six seconds.mp4", 60)
