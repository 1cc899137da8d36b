"""The page: self-contained, safe, and complete."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from oncue.types import GoldTurn, Question, TimeSpan
from oncue.watch.record import Watched
from oncue.watch.watch_page import to_page

NASTY = "</script><script>alert(1)</script><!-- <b>&amp;\u2028"


class Reader(HTMLParser):
    """Elements, what they load, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.loads: list[str] = []
        self.labels: list[str] = []
        self.title = ""
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        self.loads += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "srcset", "action", "data")
        ]
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = attrs, text + data
        if self._open == "title":
            self.title += data

    @property
    def values(self) -> dict[str, Any]:
        return json.loads(
            next(text for attrs, text in self.scripts if attrs.get("type") == "application/json")
        )


def page_of(watched: Watched, **more: Any) -> str:
    return to_page(watched, title="clip.mp4", **more)


def test_it_holds_everything_that_was_seen(watch) -> None:
    watched = watch({3.0: "one", 7.0: "two"}, [Question("A?"), Question("B?", 5.0)])
    values = Reader(page_of(watched, gold=[GoldTurn("due", TimeSpan(2.0, 4.0))])).values
    assert [(r["time_s"], r["text"], r["question"]) for r in values["replies"]] == [
        (3, "one", "A?"),
        (7, "two", "B?"),
    ]
    assert [q["text"] for q in values["questions"]] == ["A?", "B?"]
    assert len(values["silent_s"]) == 18
    assert values["gold"] == [{"start_s": 2.0, "end_s": 4.0, "text": "due"}]
    assert all(r["frame"].startswith("data:image/jpeg;base64,") for r in values["replies"])
    assert 4 <= len(values["film"]) <= 8


def test_it_loads_nothing(watch) -> None:
    page = page_of(watch({3.0: "see http://example.com"}))
    assert Reader(page).loads == []
    code = page.replace("see http://example.com", "").replace(
        "http://www.w3.org/2000/svg", ""
    )  # a name, not a place
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", code)
    assert "default-src 'none'" in page


def test_text_stays_text(watch) -> None:
    watched = watch({3.0: NASTY}, [Question(NASTY)])
    read = Reader(to_page(watched, title=NASTY))
    assert len(read.scripts) == 2  # the values and the code, none from the texts
    assert read.values["replies"][0]["text"] == NASTY
    assert read.values["title"] == NASTY
    assert read.title == NASTY
    assert not re.search(
        r"innerHTML|insertAdjacentHTML|document\.write|eval\(", read.scripts[-1][1]
    )


def test_a_careless_page_would_be_caught() -> None:
    assert len(Reader(f"<script>x = {json.dumps(NASTY)}</script>").scripts) > 1
    assert Reader('<img src="https://example.com/a.png">').loads


@pytest.mark.parametrize("replies", [{}, {1.0: "x"}])
def test_nothing_or_little_to_show(watch, replies) -> None:
    values = Reader(page_of(watch(replies, num_frames=1))).values
    assert len(values["replies"]) == len(replies)
    assert values["duration_s"] == 1.0


def test_it_can_be_used_without_a_pointer_or_sight(watch) -> None:
    page = page_of(watch({3.0: "one"}))
    assert {"Replies", "Timeline"} <= set(Reader(page).labels)
    for needed in (
        'lang="en"',
        'aria-live="polite"',
        "ArrowRight",
        "prefers-color-scheme: dark",
        "max-width: 760px",
    ):
        assert needed in page


def test_long_videos_make_small_pages(watch) -> None:
    watched = watch({float(t): f"reply {t}" for t in range(10, 4000, 400)}, num_frames=4000)
    page = page_of(watched)
    assert len(Reader(page).values["silent_s"]) <= 1500
    assert len(page) < 200_000
