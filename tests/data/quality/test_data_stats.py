"""The figures of rows, by hand and by `oncue data stats`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quality_rows import SOUND, changed, write

from oncue import cli
from oncue.data.quality.duplicates import count_duplicates, normalised
from oncue.data.quality.places import Places
from oncue.data.quality.statistics import Tally, first_word
from oncue.data.quality.stats_page import bins

TURNS = ("--frame-interval-s", "1", "--frames-per-turn", "2")
NASTY = "</script><script>alert(1)</script>"


def stats(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert cli.main(["data", "stats", *map(str, words), *TURNS, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_figures_of_three_rows(tmp_path: Path, capsys) -> None:
    ego = changed(lambda row: row["gold"].pop(), SOUND)
    ego |= {"row_id": "b-1", "video_id": "b", "kind": "ego", "duration": 8.0, "source": "other"}
    second = {**SOUND, "row_id": "a-2"}
    figures = stats(capsys, write(tmp_path / "rows.jsonl", [SOUND, second, ego]))
    web = figures["kinds"]["web"]
    assert (web["num_videos"], web["num_dialogues"], web["mean_length_s"]) == (1, 2, 16.0)
    assert (web["mean_questions"], web["mean_answer_turns"]) == (2.0, 3.0)
    assert web["silence_share"] == 1 - 3 / 8
    assert figures["total"]["num_videos"] == 2
    assert figures["total"]["mean_length_s"] == 12.0
    assert figures["num_answers"] == 8
    assert figures["span_length_s"]["p50"] == 3.5
    assert figures["answers_per_question"] == {
        "num": 6, "mean": 1.333, "p0": 0, "p10": 0, "p25": 1, "p50": 1, "p75": 2, "p90": 2,
        "p100": 2,
    }  # fmt: skip
    assert figures["first_words"] == {"what": 3, "who": 3}
    assert figures["costs"][0]["num_requests"] == 9
    assert figures["costs"][0]["cost"] == 0.75


def test_immediate_answers_and_duplicates(tmp_path: Path, capsys) -> None:
    def change(row: dict) -> None:
        row["gold"][2] |= {"reply_timespan": [6.0, 9.0], "content": "the ONION"}
        row["gold"][2].pop("visible_s")
        row["gold"][1]["content"] = "An onion."

    figures = stats(capsys, write(tmp_path / "rows.jsonl", [changed(change)]))
    assert figures["immediate_share"] == round(1 / 3, 4)
    assert figures["exact_duplicate_share"] == round(1 / 3, 4)
    assert figures["near_duplicate_share"] == round(2 / 3, 4)
    sound = stats(capsys, write(tmp_path / "rows.jsonl", [SOUND]))
    assert sound["immediate_share"] == sound["near_duplicate_share"] == 0.0


def test_rejections_are_counted_by_step_and_kind(tmp_path: Path, capsys) -> None:
    lines = [
        {"video_id": "x", "step": "captions", "kind": "malformed", "reason": "no JSON"},
        {"video_id": "y", "step": "captions", "kind": "malformed", "reason": "other"},
        {"video_id": "y", "step": "questions", "kind": "refused", "reason": "HTTP 400"},
    ]
    rejected = write(tmp_path / "rejected.jsonl", lines)
    path = write(tmp_path / "rows.jsonl", [SOUND])
    assert stats(capsys, path, "--rejected", rejected)["rejected"] == [
        {"step": "captions", "kind": "malformed", "num": 2, "first_reason": "no JSON"},
        {"step": "questions", "kind": "refused", "num": 1, "first_reason": "HTTP 400"},
    ]


def test_the_page_shows_texts_as_text(tmp_path: Path, capsys) -> None:
    nasty = changed(lambda row: row["questions"][0].update(text=f"{NASTY} is what?"))
    nasty |= {"source": NASTY}
    path = write(tmp_path / "rows.jsonl", [nasty])
    out = tmp_path / "stats.html"
    assert cli.main(["data", "stats", str(path), *TURNS, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "answer turns" in shown
    page = out.read_text("utf-8")
    assert "<script" not in page
    assert page.count("<figure") == 5
    assert cli.main(["data", "stats", str(path), *TURNS, "--out", str(path)]) == 2


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.floats(0, 1))
def test_a_quantile_is_reached_by_its_share(values: list[int], share: float) -> None:
    tally = Tally()
    for value in values:
        tally.add(value)
    found = tally.quantile(share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < max(share * len(values), 1e-9)


def test_bars_hold_every_number_once() -> None:
    tally = Tally()
    for value in (0, 1, 2, 4, 5, 7, 12, 90):
        tally.add(value)
    drawn = {"0": 1, "1": 1, "2": 1, "3-4": 1, "5-7": 2, "8-11": 0, "12+": 2}
    assert bins(tally, (1, 2, 3, 5, 8, 12)) == drawn
    lengths = Tally(1)
    for length_s in (1.9, 2.0, 3.9, 4.0):
        lengths.add(length_s)
    assert bins(lengths, (2, 4)) == {"0-2": 1, "2-4": 2, "4+": 1}


def test_words_and_places() -> None:
    assert normalised("The  Cup, a RED one!") == "cup red one"
    assert normalised("?!") == "?!"
    assert count_duplicates(["A cup.", "a cup", "A cup.", "Cups"]) == (1, 2)
    assert [first_word(text) for text in ("¿Qué?", " 'What's this", "?")] == ["qué", "what's", ""]
    places = Places()
    assert [places.first("a", "1"), places.first("b", "2"), places.first("a", "3")] == list("121")
    places.close()
