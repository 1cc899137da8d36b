"""The page of stored rollouts in a real browser: the address, the slider, the filters and the keys
change what shows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from real_browser import needs_browser, shown

from oncue.view.film import film_of
from oncue.view.rollout_page import to_page
from oncue.view.stored import read_run
from view_run import read_lines, write_lines, write_run

pytestmark = needs_browser

NASTY = "<img src=x onerror=\"document.title='taken'\"></script><b>bold</b>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two steps; the second group of the first one holds hostile texts and a reply of its
    own."""
    folder = write_run(tmp_path_factory.mktemp("browser") / "run")
    lines = read_lines(folder, 5)
    for line in lines[3:6]:
        line["questions"] = [{"time": 0.0, "text": NASTY}]
        line["example"] = None
    lines[3]["turns"][0]["text"] = "A zebra."
    write_lines(folder, 5, lines)
    run = read_run(folder)
    path = folder / "rollouts.html"
    path.write_text(to_page(run, partial(film_of, config=run.config)), encoding="utf-8")
    return path


def test_the_newest_step_is_shown_first(page: Path) -> None:
    seen = shown(page)
    assert seen.texts["step-name"] == "Step 10"
    assert seen.texts["count"] == "3 groups"
    assert seen.texts["name"].startswith("Group 1")
    assert seen.num["item"] == 3
    assert seen.num["film"] == 1
    assert seen.num["stairs"] >= 3
    assert "view" not in seen.hidden


def test_the_address_chooses_step_group_and_reply(page: Path) -> None:
    seen = shown(page, "step=5&group=3&member=3&reply=2")
    assert seen.texts["step-name"] == "Step 5"
    assert seen.texts["name"].startswith("Group 3")
    assert seen.texts["said"] == "Nothing."
    assert "the very words of an earlier reply" in seen.texts["meta"]
    wild = shown(page, "step=none&group=-4&member=9&reply=x&spread=wide")
    assert wild.texts["step-name"] == "Step 10"
    assert wild.texts["name"].startswith("Group 1")


def test_the_slider_changes_the_step(page: Path) -> None:
    move = (
        'const s = document.getElementById("step"); s.value = 0; '
        's.dispatchEvent(new Event("input"));'
    )
    assert shown(page, does=move).texts["step-name"] == "Step 5"
    assert (
        shown(page, does=move.replace("s.value = 0", "s.value = 1")).texts["step-name"] == "Step 10"
    )


def test_filters_change_the_list_and_what_is_shown(page: Path) -> None:
    found = shown(page, "step=5&text=zebra")
    assert found.texts["count"] == "1 of 3 groups"
    assert found.texts["name"].startswith("Group 2")
    typed = shown(
        page,
        "step=5",
        'const t = document.getElementById("text"); t.value = "ZEBRA"; '
        't.dispatchEvent(new Event("input"));',
    )
    assert typed.num["item"] == 1
    nothing = shown(page, "step=5&spread=1000")
    assert nothing.texts["count"] == "0 of 3 groups"
    assert "view" in nothing.hidden
    assert "No group" in nothing.texts["items"]
    assert shown(page, "step=5&reward=-1000").num["item"] == 3


def test_keys_move_through_groups_replies_and_steps(page: Path) -> None:
    def press(*keys: str) -> str:
        return "".join(
            f'document.dispatchEvent(new KeyboardEvent("keydown", {{key: "{key}"}}));'
            for key in keys
        )

    seen = shown(page, "step=10", press("n", "n", "ArrowRight"))
    assert seen.texts["name"].startswith("Group 3")
    assert any(label.startswith("Member ") for label in seen.current)
    assert shown(page, "step=10", press("[")).texts["step-name"] == "Step 5"
    kept = (
        'document.querySelectorAll(".item")[1].click(); document.title = '
        "document.activeElement.textContent;"
    )
    clicked = shown(page, "step=10", kept)
    assert clicked.texts["name"].startswith("Group 2")
    assert "<title>Rollouts" not in clicked.page  # the focus is still in the list
    assert "spread" in clicked.page.split("<title>")[1].split("</title>")[0]


def test_hostile_texts_are_read_as_text(page: Path) -> None:
    seen = shown(page, "step=5&group=2")
    assert NASTY in seen.texts["questions"]
    assert "<b>bold" not in seen.page
    assert '<img src="x"' not in seen.page
    assert "<title>Rollouts of run</title>" in seen.page
    assert "No film" in seen.texts["lanes"]
    careless = (
        'document.getElementById("questions").innerHTML = V.steps[0].groups[1].questions[0].text;'
    )
    assert "<b>bold" in shown(page, "step=5&group=2", careless).page  # control
