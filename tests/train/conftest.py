"""Runs that are small, and many."""

from __future__ import annotations

import pytest
from ppo_runs import film_rows

from oncue.data.retrieval_examples import RetrievalRows


@pytest.fixture(scope="module", autouse=True)
def quick_pages(each_curve_once: None) -> None:
    """The pages of runs are not what these tests are about; `tests/pages` looks at charts."""


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> RetrievalRows:
    """Two questions about a film."""
    return film_rows(tmp_path_factory.mktemp("films"))
