"""The page of stored episodes of retrieval: where was looked, what it earned, right or wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue import cli
from oncue.env.retrieval import asked_span
from oncue.types import Retrieve, TimeSpan
from oncue.video.pool_reader import read_pool
from oncue.video.writer import write_video
from oncue.view.turn_cards import film_indices, frame_spans

FIRST = [0, 8, 16, 25, 33, 42, 50, 59, 67, 76, 84, 93, 101, 110, 118, 127]
LOOK = [40, 45, 51, 56, 62, 67, 73, 79]
NASTY = "</script><script>alert(1)</script><!-- <b>&amp;\u2028 {{slot}}"


def times(indices: list[int], duration_s: float = 64.0) -> list[float]:
    return [(i + 0.5) * duration_s / 128 for i in indices]


def episode(name: str = "a", said: str = "B", **changes: Any) -> dict[str, Any]:
    """A look and an answer; relevant are frames 60 to 67, from 30 s to 34 s."""
    return {
        "episode_id": name,
        "question": "Which cup?",
        "options": ["red", "blue"],
        "answer": "B",
        "duration_s": 64.0,
        "evidence": {"frames": list(range(60, 68)), "num_frames": 128},
        "turns": [
            {
                "frames": FIRST,
                "times": times(FIRST),
                "thought": "not yet",
                "action": {"retrieve": [40, 79]},
            },
            {"frames": LOOK, "times": times(LOOK), "action": {"answer": said}},
        ],
        **changes,
    }


def write(path: Path, *episodes: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in episodes))
    return path


def shown(path: Path) -> list[dict[str, Any]]:
    """The episodes of the page of `path`."""
    assert cli.main(["view", str(path)]) == 0
    page = (path if path.is_dir() else path.parent) / "episodes.html"
    text = page.read_text()
    assert text.count("<script") == 2
    values = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text)
    assert values is not None
    return json.loads(values[1])["episodes"]


def test_what_was_seen_and_what_it_earned(tmp_path, capsys) -> None:
    (card,) = shown(write(tmp_path / "a.jsonl", episode()))
    assert "1 episode," in capsys.readouterr().out
    assert (card["is_right"], card["chosen_option"], card["right_option"]) == (True, 1, 1)
    assert card["gold"] == [[30.0, 34.0]]
    look, answer = card["turns"]
    assert look["action"]["span"] == [20.0, 40.0]
    assert [frame["index"] for frame in look["frames"]] == FIRST
    assert {frame["frame"] for frame in look["frames"]} == {None}  # no video at hand
    assert look["iou"] == pytest.approx(1 / 23)  # frame 67 alone
    assert answer["iou"] == pytest.approx(2 / 14)  # 62 and 67
    assert look["rewards"]["paper"] == {"accuracy": 0, "frames": 0.5, "format": 0.1}
    assert answer["rewards"]["release"] == pytest.approx(
        {"accuracy": 1, "frames": 0, "format": 0.1, "answer_speed": -0.1}
    )


def test_right_wrong_unanswered_and_unknown(tmp_path, capsys) -> None:
    unread = episode("c")
    unread["turns"][1] |= {"action": {"malformed": "it is no answer"}, "text": NASTY}
    cards = shown(
        write(
            tmp_path / "all.jsonl",
            episode("a"),
            episode("b", "A"),
            unread,
            episode("d", answer=None),
            episode("e", evidence=None),
            episode("f", "a red one", options=[], answer="blue"),
            episode("g", duration_s=None, question=NASTY, reason="it was stopped"),
        )
    )
    capsys.readouterr()
    assert [card["is_right"] for card in cards] == [True, False, None, None, True, False, True]
    assert [bool(card["ending"]) for card in cards] == [
        False,
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert cards[2]["turns"][1]["action"]["text"] == NASTY
    assert cards[3]["turns"][0]["rewards"] == {}  # they depend on the answer
    assert cards[4]["turns"][0]["rewards"]["paper"] == {"accuracy": 0, "format": 0.1}
    assert (cards[4]["gold"], cards[4]["turns"][0]["iou"]) == (None, None)
    assert (cards[5]["right_answer"], cards[5]["right_option"]) == ("blue", None)
    assert cards[6]["duration_s"] == pytest.approx(63.75)  # the last time that is known


@pytest.mark.parametrize(
    "options", [["red", "blue"], ["(A) red", "(B) blue"], ["a: red", "b: blue"]]
)
@pytest.mark.parametrize("said", ["b", "(B)", "B. Blue", "blue."])
def test_what_is_right_is_the_option_that_is_marked(said, options, tmp_path) -> None:
    (card,) = shown(write(tmp_path / "a.jsonl", episode(said=said, options=options, answer="Blue")))
    assert (card["is_right"], card["chosen_option"], card["right_option"]) == (True, 1, 1)
    assert card["options"] == ["A. red", "B. blue"]


def test_a_folder_of_files_and_the_counts(tmp_path, capsys) -> None:
    write(tmp_path / "step_1.jsonl", episode("a"), episode("b", "A"))
    write(tmp_path / "step_2.jsonl", episode("a"))
    assert [card["name"] for card in shown(tmp_path)] == ["a", "b", "a"]
    assert "3 episodes" in capsys.readouterr().out
    page = (tmp_path / "episodes.html").read_text()
    assert "3 episodes: 2 right, 1 wrong, 0 without an answer" in page


def test_pictures_where_the_video_is_at_hand(tmp_path, capsys) -> None:
    write_video(tmp_path / "clip.mp4", (np.full((48, 64, 3), k, np.uint8) for k in range(64)), 10.0)
    pool = read_pool(tmp_path / "clip.mp4", 128)
    one = episode(video="clip.mp4", unit="frames", duration_s=6.4)
    for turn in one["turns"]:
        turn["times"] = [float(pool.frames.pts_s[i]) for i in turn["frames"]]
    one["turns"][1]["times"][0] += 0.02  # of a closer look
    (card,) = shown(write(tmp_path / "a.jsonl", one))
    assert all(frame["frame"] for frame in card["turns"][0]["frames"])
    assert [bool(frame["frame"]) for frame in card["turns"][1]["frames"]] == [False] + [True] * 7
    assert len(card["film"]) == 48
    assert card["turns"][0]["action"]["span"] == pytest.approx([2.0, 4.0])
    (tmp_path / "clip.mp4").write_text("no video any more")
    from oncue.view import retrieval_stored

    retrieval_stored._read_pool.cache_clear()
    (card,) = shown(tmp_path / "a.jsonl")
    assert card["film"] == []
    capsys.readouterr()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"turns": 3}, "'turns' must be a list"),
        ({"video": 3}, "'video' must be text"),
        ({"unit": "minutes"}, "'unit' must be 'frames' or 'seconds'"),
        ({"evidence": None, "pool_frames": 0}, "'pool_frames' must be a whole number, 1 or more"),
        ({"reason": None}, "'reason' must be text"),
    ],
)
def test_a_line_that_breaks_the_format(changes, told, tmp_path, capsys) -> None:
    path = write(tmp_path / "a.jsonl", episode(), episode("b", **changes))
    assert cli.main(["view", str(path)]) == 2
    captured = capsys.readouterr()
    assert f"{path}, line 2" in captured.err
    assert told in captured.err
    assert not (tmp_path / "episodes.html").exists()


def test_what_cannot_be_shown(tmp_path, capsys) -> None:
    path = write(tmp_path / "a.jsonl", episode())
    assert cli.main(["view", str(path), "--step", "3"]) == 2
    assert cli.main(["view", str(path), "--out", str(tmp_path)]) == 2
    assert cli.main(["view", str(tmp_path / "none.jsonl")]) == 2
    (tmp_path / "empty.jsonl").touch()
    assert cli.main(["view", str(tmp_path / "empty.jsonl")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    assert all(line.startswith("oncue: ") for line in told)


def test_more_episodes_than_a_page_shows_are_counted(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("oncue.view.retrieval_page.MAX_EPISODES", 2)
    monkeypatch.setattr("oncue.commands.view.MAX_EPISODES", 2)
    path = write(tmp_path / "a.jsonl", *(episode(str(k)) for k in range(5)))
    assert len(shown(path)) == 2
    captured = capsys.readouterr()
    assert "2 episodes" in captured.out
    assert "3 more episodes are not on it" in captured.err


def test_neighbouring_frames_are_one_stretch() -> None:
    assert frame_spans([5, 6, 9, 7], 64, 64.0) == (TimeSpan(5, 8), TimeSpan(9, 10))
    assert frame_spans([0, 63], 64, 64.0) == (TimeSpan(0, 1), TimeSpan(63, 64))
    assert frame_spans([], 64, 64.0) == ()


def test_the_stretch_of_a_range_and_the_film() -> None:
    assert asked_span(Retrieve(0, 127), "frames", 128, 64.0) == TimeSpan(0, 64)
    assert asked_span(Retrieve(3.5, 9), "seconds", 128, 64.0) == TimeSpan(3.5, 9)
    assert film_indices(3) == [0, 1, 2]
    assert film_indices(480) == list(range(5, 480, 10))
