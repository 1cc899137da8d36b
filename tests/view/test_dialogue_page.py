"""Proactive rows as a page: what is drawn where, with and without the video."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.clock import Clock
from oncue.data.proactive_rows import ProactiveRow, read_proactive_row
from oncue.data.quality.turn_grid import TurnGrid
from oncue.video.writer import write_video
from oncue.view.dialogue_film import MAX_STILLS, row_film, still_frames
from oncue.view.dialogue_page import card_of, dialogues_page
from oncue.view.film import Film

GRID = TurnGrid(Clock(1.0), 2)
NASTY = '</p><script>alert("1")</script>'
PLAIN = {
    "row_id": "a-1",
    "video": "a.mp4",
    "video_id": "a",
    "part": None,
    "duration": 10.0,
    "source": "invented",
    "kind": "web",
    "dialogue": "nQnA",
    "questions": [{"text": "What is cut?", "time_s": 0.0}, {"text": "Who?", "time_s": 5.0}],
    "gold": [
        {"question": "What is cut?", "content": "An onion.", "reply_timespan": [1.0, 4.5]},
        {"question": "Who?", "content": NASTY, "reply_timespan": [6.0, 8.0], "visible_s": 6.5},
    ],
    "scenes": [
        {"span": [0.0, 4.5], "caption": "Hands cut an onion.", "subtitle": "First."},
        {"span": [5.0, 8.0], "caption": "A man comes in.", "subtitle": ""},
    ],
    "provenance": {"where": "", "steps": []},
}


def row(**more: object) -> ProactiveRow:
    return read_proactive_row({**PLAIN, **more}, "here")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4: 24 s at 2 frames per second, lighter with time."""
    folder = tmp_path_factory.mktemp("videos")
    frames = (np.full((36, 64, 3), 5 * k, np.uint8) for k in range(48))
    write_video(folder / "a.mp4", frames, 2.0)
    return folder


def test_bars_lie_where_their_times_are() -> None:
    card = card_of(row(), GRID, Film(missing="no film"))
    assert [(bar.left, bar.width) for bar in card.scenes] == [(0.0, 45.0), (50.0, 30.0)]
    assert [(bar.left, bar.width) for bar in card.questions] == [(0.0, 50.0), (50.0, 50.0)]
    assert [[(b.left, b.width) for b in bars] for bars in card.replies] == [
        [(10.0, 35.0)],
        [(60.0, 20.0)],
    ]
    assert [dot.left for dot in card.dots] == [40.0, 80.0]  # the turns at 4 s and 8 s
    hues = [bar.hue for bar in card.questions]
    assert [bars[0].hue for bars in card.replies] == hues == [1, 2]
    kinds = [entry.kind for entry in card.entries]
    assert kinds == ["question", "scene 1", "reply 1", "question", "scene 2", "reply 2"]


def test_a_reply_that_names_no_question_is_shown_too() -> None:
    gold = [{"question": "Else?", "content": "x", "reply_timespan": [1.0, 2.0]}]
    card = card_of(row(gold=gold), GRID, Film())
    assert [[bar.hue for bar in bars] for bars in card.replies] == [[0]]
    assert card_of(row(gold=[], scenes=[], duration=None), GRID, Film()).replies == ()


def test_stills_are_those_of_the_starts_of_scenes(videos: Path) -> None:
    film = row_film(row(), videos)
    assert [still.time_s for still in film.stills] == [1.0, 5.0]
    part = row_film(row(part=[12.0, 22.0]), videos)
    assert [still.time_s for still in part.stills] == [1.0, 5.0]
    assert part.stills[0].jpeg != film.stills[0].jpeg
    many = [{"span": [k / 2, k / 2 + 0.5], "caption": "c"} for k in range(48)]
    assert len(row_film(row(scenes=many, duration=24.0), videos).stills) == MAX_STILLS
    assert len(still_frames(row(scenes=[], duration=24.0), None)) == MAX_STILLS


def test_without_the_video_the_page_says_why(videos: Path) -> None:
    assert "--videos" in row_film(row(), None).missing
    assert "gone.mp4" in row_film(row(video="gone.mp4"), videos).missing
    late = row_film(row(part=[60.0, 70.0]), videos)
    assert not late.stills
    assert "ends at 24 s" in late.missing
    assert dialogues_page("t", [row()], GRID, lambda _: late).count(late.missing) == 1


def test_texts_are_shown_as_text(videos: Path) -> None:
    page = dialogues_page(NASTY, [row(row_id=NASTY)], GRID, lambda r: row_film(r, videos))
    assert "<script" not in page
    assert len(re.findall("<img ", page)) == 2
    assert "alert(" in page  # it is there, as text


def test_the_command_chooses_rows(tmp_path: Path, videos: Path, capsys) -> None:
    rows = [{**PLAIN, "row_id": f"row-{k:02}"} for k in range(30)]
    path, out = tmp_path / "rows.jsonl", tmp_path / "page.html"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    turns = ("--frame-interval-s", "1", "--frames-per-turn", "2")

    def shown(*flags: str) -> list[str]:
        assert cli.main(["data", "view", str(path), "--out", str(out), *flags, *turns]) == 0
        return re.findall("<h2>(row-.*?)</h2>", out.read_text("utf-8"))

    assert shown("--row", "row-07", "row-03") == ["row-07", "row-03"]
    drawn = shown("--sample", "5", "--videos", str(videos))
    assert len(drawn) == 5
    assert drawn == sorted(drawn) == shown("--sample", "5")
    assert drawn != shown("--sample", "5", "--seed", "1")
    assert len(shown()) == 20
    capsys.readouterr()
    assert cli.main(["data", "view", str(path), "--out", str(out), "--row", "x", *turns]) == 2
    assert "no row with the id 'x'" in capsys.readouterr().err
    assert cli.main(["data", "view", str(path), "--out", str(path), *turns]) == 2
