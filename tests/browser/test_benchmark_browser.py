"""The page of a benchmark in a real browser: search, subsets, and hostile texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_browser import needs_browser, shown

from oncue.eval.streams.stream_page import to_page
from tones import ITEMS, item, said, scored

pytestmark = needs_browser
NASTY = "<img src=x onerror=\"document.title='taken'\"></script><b>bold</b>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores = scored(said([[6.0], [1.0], [7.0]], NASTY), items=(item(0, NASTY), *ITEMS[1:]))
    path = tmp_path_factory.mktemp("browser") / "index.html"
    path.write_text(to_page(scores), encoding="utf-8")
    return path


def test_all_items_are_shown_and_texts_stay_text(page: Path) -> None:
    seen = shown(page)
    assert seen.texts["count"] == "12 of 12"
    assert seen.texts["items"].count(NASTY) == 4
    assert "taken" not in seen.page.split("</title>")[0]


def test_search_and_subset_hide_the_others(page: Path) -> None:
    search = "at('text').value = 'T1'; at('text').dispatchEvent(new Event('input'));"
    assert shown(page, does=search).texts["count"] == "3 of 12"
    low = "at('subset').value = 'low'; at('subset').dispatchEvent(new Event('input'));"
    seen = shown(page, does=search + low)
    assert seen.texts["count"] == "2 of 12"
    assert seen.page.count("<article") - seen.page.count('hidden=""') == 2


def test_all_texts_open_and_close(page: Path) -> None:
    press = "at('open').click();"
    assert shown(page, does=press).page.count("<details open") == 12
    assert shown(page, does=press * 2).page.count("<details open") == 0
