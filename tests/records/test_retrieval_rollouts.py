"""Stored episodes of retrieval, and `oncue score rewards` of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue import cli
from oncue.errors import DataError
from oncue.records.retrieval_rollouts import (
    StoredRetrieval,
    read_retrieval_rollouts,
    retrieval_line,
)
from oncue.rewards.retrieval_rollout import RetrievalRollout, RetrievalTurn
from oncue.types import Answer, Evidence, Malformed, Retrieve, TimeSpan
from retrieval_rollouts import eight_of, episode_of
from score_support import write_lines

TURNS = [  # IoU .2 at first, 1/3, then 0
    {"frames": [0, 32], "times": [0.5, 32.5], "action": {"retrieve": [2, 5]}},
    {"frames": [2, 3, 4, 5], "times": [2.5, 3.5, 4.5, 5.5], "action": {"retrieve": [40, 41]}},
    {"frames": [40, 41], "times": [40.5, 41.5], "thought": "Blue?", "action": {"answer": "b"}},
]


def line(name: str = "clip7/0", **changed: Any) -> dict[str, Any]:
    """An episode of two looks and the right answer."""
    whole = {
        "episode_id": name,
        "question": "Which colour has the box?",
        "options": ["A. red", "B. blue"],
        "answer": "B",
        "duration_s": 64,
        "evidence": {"frames": [0, 1, 2, 3], "num_frames": 64, "spans": [[0, 4]]},
        "turns": TURNS,
    }
    return {key: value for key, value in {**whole, **changed}.items() if value != "left out"}


def scored(
    capsys: pytest.CaptureFixture[str], path: Path, *words: str, profile: str = "video-mtr"
) -> list[dict[str, Any]]:
    """The lines on stdout of a call that ends well."""
    arguments = ["score", "rewards", str(path), "--profile", profile, "--json", *words]
    assert cli.main(arguments) == 0
    return [json.loads(row) for row in capsys.readouterr().out.splitlines()]


def refused(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> str:
    """What is said of a call that does not."""
    assert cli.main(["score", "rewards", str(path), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    return captured.err


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
number = st.floats(0, 1e6)
frames = st.lists(st.integers(0, 63), max_size=4)


@st.composite
def turns(draw: st.DrawFn, *, last: bool) -> RetrievalTurn:
    start, end = sorted(draw(st.tuples(number, number)))
    actions = [
        st.just(Retrieve(start, end)),
        st.builds(Malformed, texts, texts),
        *([st.builds(Answer, texts)] if last else []),
    ]
    action = draw(st.one_of(actions))
    indices = tuple(draw(frames))
    times = tuple(draw(number) for _ in indices)
    asked = None
    if isinstance(action, Retrieve):
        asked = draw(st.none() | frames.map(tuple))
    return RetrievalTurn(indices, times, action, asked, draw(texts))


@st.composite
def rollouts(draw: st.DrawFn) -> RetrievalRollout:
    spans = st.tuples(number, number).map(lambda ends: TimeSpan(*sorted(ends)))
    evidence = st.builds(
        Evidence, st.frozensets(st.integers(0, 63)), st.just(64), st.lists(spans).map(tuple)
    )
    earlier = draw(st.lists(turns(last=False), max_size=2))
    later = draw(st.lists(turns(last=True), max_size=1))
    if earlier and draw(st.booleans()):
        later = [replace(turn, indices=()) for turn in later]  # frames that no pool has
    return RetrievalRollout(
        draw(texts),
        tuple(draw(st.lists(texts, max_size=3))),
        draw(st.none() | texts),
        draw(st.none() | evidence),
        draw(st.none() | number),
        (*earlier, *later),
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(rollouts(), min_size=1, max_size=3))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, made: list[RetrievalRollout]
) -> None:
    stored = [StoredRetrieval(f"e{k}", rollout) for k, rollout in enumerate(made)]
    path = tmp_path_factory.mktemp("stored") / "e.jsonl"
    assert read_retrieval_rollouts(write_lines(path, map(retrieval_line, stored))) == stored


def test_an_episode_is_scored_as_when_it_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = [((0, 32), Retrieve(2, 5)), ((2, 3, 4, 5), Malformed("?", "no tag"))]
    ends_with_a_look = [((0, 32), Retrieve(40, 63)), ((40, 63), Retrieve(0, 3))]
    stored = [
        StoredRetrieval(f"e{k}", RetrievalRollout.of(episode_of(turns), eight_of))
        for k, turns in enumerate([lost, ends_with_a_look])
    ]
    path = write_lines(tmp_path / "e.jsonl", map(retrieval_line, stored))
    assert read_retrieval_rollouts(path) == stored
    release = scored(capsys, path, profile="video-mtr-release")
    assert [row["reward"] for row in release] == pytest.approx([0.6, 0.7])
    assert [row["reward"] for row in scored(capsys, path)] == pytest.approx([0.0, 0.1])


def test_both_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "e.jsonl", [line()])
    (paper,) = scored(capsys, path)
    assert list(paper) == ["episode_id", "accuracy", "frames", "format", "reward", "unscored"]
    assert paper == {
        "episode_id": "clip7/0",
        "accuracy": 1.0,
        "frames": pytest.approx(0.5 - 1 / 3),
        "format": pytest.approx(0.3),
        "reward": pytest.approx(1.3 + 0.5 - 1 / 3),
        "unscored": 0,
    }
    (gentle,) = scored(capsys, path, "--lambda-drop", "0")
    assert gentle["reward"] == pytest.approx(1.8)
    (release,) = scored(capsys, path, profile="video-mtr-release")
    assert list(release)[4] == "answer_speed"
    assert release["answer_speed"] == pytest.approx(-0.2)
    assert release["reward"] == pytest.approx(1.0 + 0.5 + 0.3 - 0.2)


def test_what_is_not_known_is_null_and_counts_in_no_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(
        tmp_path / "e.jsonl",
        [line(), line("b", answer=None), line("c", evidence=None), line("d", answer="F")],
    )
    known, no_answer, no_evidence, no_option = scored(capsys, path)
    for row in (no_answer, no_option):
        assert [row[k] for k in ("accuracy", "frames", "format", "reward")] == [None] * 4
        assert row["unscored"] == 1
    assert (no_evidence["accuracy"], no_evidence["format"]) == (1.0, known["format"])
    assert (no_evidence["frames"], no_evidence["reward"], no_evidence["unscored"]) == (
        None,
        None,
        2,
    )
    assert cli.main(["score", "rewards", str(path), "--profile", "video-mtr"]) == 0
    captured = capsys.readouterr()
    table = {row.split()[0]: row.split()[1:] for row in captured.out.splitlines()}
    assert table["accuracy"] == ["2", "1.0000", "1.0000", "1.0000"]
    assert table["reward"] == ["1", *[f"{known['reward']:.4f}"] * 3]
    assert "N = 4 episodes" in captured.out
    assert "not known: 4 facts of 3 of 4 episodes" in captured.err
    assert "2 x it is not known which frames are relevant" in captured.err
    nothing = write_lines(tmp_path / "n.jsonl", [line(answer=None)])
    assert cli.main(["score", "rewards", str(nothing), "--profile", "video-mtr"]) == 0
    assert "reward        0     -" in capsys.readouterr().out


def test_asked_may_be_left_out_where_the_next_turn_shows_it(tmp_path: Path) -> None:
    last = {**TURNS[1], "asked": [40, 41]}
    path = write_lines(tmp_path / "e.jsonl", [line(), line("b", turns=[TURNS[0], last])])
    for stored in read_retrieval_rollouts(path):
        asked = [turn.asked for turn in stored.rollout.turns]
        assert asked == [(2, 3, 4, 5), (40, 41), None][: len(asked)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"question": "left out"}, "field 'question' is missing"),
        ({"question": 3}, "'question' must be text, got 3"),
        ({"answer": "left out"}, "field 'answer' is missing"),
        ({"answer": ["B"]}, "'answer' must be text"),
        ({"answer": "\ud800"}, "half of a character"),
        ({"options": "AB"}, "'options' must be a list"),
        ({"options": ["A. red", None]}, "'options' 2 must be text, got None"),
        ({"duration_s": -1}, "'duration_s' must be a number of seconds"),
        ({"evidence": "left out"}, "field 'evidence' is missing"),
        ({"evidence": [1]}, "expected an object"),
        ({"evidence": {"frames": [0]}}, "field 'num_frames' is missing"),
        ({"evidence": {"frames": [0], "num_frames": 0}}, "number of frames of the pool"),
        ({"evidence": {"frames": [0], "num_frames": True}}, "number of frames of the pool"),
        ({"evidence": {"frames": [64], "num_frames": 64}}, "from 0 to 63 in a pool of 64"),
        ({"evidence": {"frames": [0.5], "num_frames": 64}}, "evidence: 'frames' 1 must be a whole"),
        (
            {"evidence": {"frames": [], "num_frames": 64, "spans": [[4, 0]]}},
            "'spans' 1 ends before",
        ),
        ({"turns": "left out"}, "field 'turns' is missing"),
        ({"turns": [3]}, "turn 1: expected an object"),
        ({"turns": [{**TURNS[2], "frames": "all"}]}, "'frames' must be a list"),
        ({"turns": [{**TURNS[2], "frames": [70, 1]}]}, "from 0 to 63 in a pool of 64"),
        ({"turns": [{**TURNS[2], "frames": [True, 1]}]}, "turn 1: 'frames' 1 must be a whole"),
        ({"turns": [{**TURNS[2], "times": [1]}]}, "one time for each of the 2 frames, got 1"),
        ({"turns": [{**TURNS[2], "times": [1, "2"]}]}, "'times' 2 must be a number of seconds"),
        ({"turns": [{**TURNS[2], "frames": []}]}, "first turn need their indices"),
        ({"turns": [{**TURNS[2], "thought": None}]}, "'thought' must be text"),
        ({"turns": [{**TURNS[2], "action": "B"}]}, "'action' must be"),
        ({"turns": [{**TURNS[2], "action": {}}]}, "'action' must be"),
        ({"turns": [{**TURNS[2], "action": {"say": "B"}}]}, "unknown action 'say'"),
        ({"turns": [{**TURNS[2], "action": {"answer": 1}}]}, "'answer' must be text"),
        ({"turns": [{**TURNS[2], "action": {"malformed": "no tag"}}]}, "field 'text' is missing"),
        ({"turns": [{**TURNS[2], "asked": [1]}]}, "'asked' is for retrievals"),
        ({"turns": [{**TURNS[0], "action": {"retrieve": [5]}}]}, r"must be [start, end]"),
        ({"turns": [{**TURNS[0], "action": {"retrieve": [1, True]}}]}, r"must be [start, end]"),
        ({"turns": [{**TURNS[0], "action": {"retrieve": [1, 10**400]}}]}, "must be [start, end]"),
        ({"turns": [{**TURNS[0], "action": {"retrieve": [5, 2]}}]}, "ends before it starts"),
        ({"turns": [TURNS[2], TURNS[2]]}, "turn 1 of 2 is one"),
        ({"turns": TURNS[:2]}, "turn 2: no turn shows the frames that it asked for"),
        ({"turns": [{**TURNS[0], "asked": [64]}]}, "from 0 to 63"),
        ({"episode_id": "first"}, "episode_id 'first' is that of"),
        ({"episode_id": " "}, "'episode_id' must be non-empty text"),
    ],
)
def test_a_broken_line_is_named(
    changed: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_lines(tmp_path / "e.jsonl", [line("first"), line(**changed)])
    said = refused(capsys, path, "--profile", "video-mtr", "--json")
    assert "e.jsonl, line 2" in said
    assert message in said


def test_files_that_hold_no_episode_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="holds no line"):
        read_retrieval_rollouts(write_lines(tmp_path / "e.jsonl", []))
    assert "cannot read" in refused(capsys, tmp_path / "no.jsonl", "--profile", "video-mtr")
    path = tmp_path / "e.jsonl"
    path.write_text("[1]\n")
    assert "a stored episode of retrieval" in refused(capsys, path, "--profile", "video-mtr")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--judge", "lexical"], "--judge is for the profiles paper and official"),
        (["--weight-pauc", "2"], "--weight-pauc is for the profiles paper and official"),
        (["--prefix-characters", "9"], "--prefix-characters is for"),
        (["--repetition-scope", "span"], "--repetition-scope is for"),
        (["--record", "r.jsonl"], "--record is for"),
        (["--max-at-once", "2"], "--max-at-once is for"),
        (["--lambda-drop", "-1"], "lambda_drop must be a finite number, 0 or more, got -1"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "e.jsonl", [line()])
    assert message in refused(capsys, path, "--profile", "video-mtr", *words)


def test_other_profiles_need_a_judge_and_have_no_lambda(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "e.jsonl", [line()])
    assert "--profile official needs --judge" in refused(capsys, path)
    drop = ("--lambda-drop", "1")
    said = refused(capsys, path, "--judge", "lexical", "--profile", "paper", *drop)
    assert "--lambda-drop is for --profile video-mtr; leave it out with paper" in said
    said = refused(capsys, path, "--profile", "video-mtr-release", *drop)
    assert "--lambda-drop is for --profile video-mtr; leave it out with video-mtr-rel" in said
    said = refused(capsys, path, "--judge", "lexical")
    assert "field 'gold' is missing" in said
