"""Runs that are small, and many."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_pages(each_curve_once: None) -> None:
    """The pages of runs are not what these tests are about; `tests/pages` looks at charts."""
