"""The page of episodes of retrieval in a real browser: cards, hostile texts, filter and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_browser import needs_browser, shown

from oncue.types import Answer, Malformed, Retrieve, TimeSpan
from oncue.view.retrieval_page import to_page
from oncue.view.turn_cards import EpisodeCards, SeenFrame, TurnCard

pytestmark = needs_browser
NASTY = "<img src=x onerror=\"document.title='taken'\"></script><b>bold</b>"


def episode(name: str, last: Answer | Malformed, right: bool | None) -> EpisodeCards:
    look = TurnCard(
        (SeenFrame(2.0, 4), SeenFrame(6.0, 12)),
        Retrieve(4, 11),
        NASTY,
        TimeSpan(2.0, 6.0),
        iou=0.25,
        rewards={"paper": {"accuracy": 0.0, "frames": 0.5, "format": 0.1}},
    )
    return EpisodeCards(
        name,
        f"Which cup? {name}",
        ("red", NASTY),
        (look, TurnCard((), last)),
        10.0,
        20,
        "frames",
        gold=(TimeSpan(3.0, 5.0),),
        right_answer="B",
        is_right=right,
        ending="" if isinstance(last, Answer) else "it ran out of turns",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    episodes = [
        episode("first", Answer("B"), right=True),
        episode("second", Answer("A"), right=False),
        episode("third", Malformed(NASTY, "no action"), right=None),
    ]
    path = tmp_path_factory.mktemp("browser") / "episodes.html"
    path.write_text(to_page("a page", episodes, ["3 episodes"]), encoding="utf-8")
    return path


def test_an_episode_is_an_axis_and_a_card_per_turn(page: Path) -> None:
    seen = shown(page)
    assert seen.texts["question"] == "Which cup? first"
    assert seen.texts["said"] == f"Answered right: B. {NASTY}"
    assert (seen.num["turn"], seen.num["tick"], seen.num["asked-span"]) == (2, 2, 1)
    assert (seen.num["due"], seen.num["item"]) == (1, 3)
    assert NASTY in seen.texts["turns"]
    assert "Asked for 0:02 to 0:06  (frames 4 to 11)" in seen.texts["turns"]
    assert "IoU 0.25 with the relevant frames" in seen.texts["turns"]
    assert "0.60" in seen.texts["totals"]
    assert seen.texts["title"] == "a page"


def test_filter_key_and_address(page: Path) -> None:
    choose = "at('kind').value = 'none'; at('kind').dispatchEvent(new Event('input'));"
    # from the second episode, which the filter hides, to the first that it shows
    key = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', bubbles: true}));"
    seen = shown(page, "2", f"document.activeElement.blur(); {choose} {key}")
    assert seen.texts["count"] == "1 of 3 episodes"
    assert seen.texts["question"] == "Which cup? third"
    assert seen.texts["said"] == "No answer: it ran out of turns"
