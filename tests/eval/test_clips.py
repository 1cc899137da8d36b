"""`oncue eval clips`: timing on clips with hand-made gold, beside what needs no model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.data.gold import load_gold
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.baselines import Trigger, TunedTrigger
from oncue.eval.benchmarks.clip_items import check_items, find_items, read_asks
from oncue.eval.benchmarks.clips import (
    COOLDOWNS_S,
    THRESHOLDS,
    edges_of,
    time_item,
    tune_on_world,
    watch_item,
)
from oncue.eval.timing import TimingCount
from oncue.policy.open_policy import Script
from oncue.policy.scripted import ScriptedPolicy, SilentPolicy
from oncue.types import Question, TimedReply, TimeSpan
from oncue.video.source import FileSource
from oncue.video.writer import write_video
from openai_server import OpenAIServer

REAL = Path(__file__).parents[3] / "shared" / "data"
TUNED = TunedTrigger(Trigger(20.0, 2.0), TimingCount(3, 1, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 12 s: dark, bright from 4.2 s on, dark again from 8.2 s on; and their gold."""
    folder = tmp_path_factory.mktemp("clips")
    levels = [40] * 21 + [160] * 20 + [40] * 19
    for name in ("one.mp4", "two.mp4"):
        write_video(folder / name, (np.full((48, 64, 3), level, np.uint8) for level in levels), 5.0)
    rows = [
        row("a", "one.mp4", [4.2, 6], [8.2, 11]),
        row("b", "two.mp4", [1, 3]),
        row("c", "two.mp4"),
    ]
    (folder / "gold.json").write_text(json.dumps(rows))
    return folder


def row(question_id: str, video: str, *spans: list[float]) -> dict:
    asked = {"role": "user", "content": f"Gold question {question_id}?", "time": 1.5}
    due = [
        {"role": "assistant", "content": "It happens.", "reply_timespan": span} for span in spans
    ]
    return {
        "video": video,
        "question_id": question_id,
        "duration": 12,
        "conversation": [asked],
        "answer": due,
    }


def items_of(folder: Path, **asked):
    return find_items(load_gold(folder / "gold.json"), folder, **asked)


def watched(item, session):
    return asyncio.run(watch_item(item, FileSource(item.path, 1.0), session))


def test_counts_of_all_policies_on_one_clip(folder):
    """Spans 4.2-6 and 8.2-11; the model speaks at 5, 6 (a second reply in the span), 7 (false);
    misses the second."""
    item = items_of(folder)[0]
    timed = time_item(watched(item, ScriptedPolicy({5: "x", 6: "y", 7: "z"})), TUNED)
    assert timed.counts["model"] == TimingCount(1, 1, 1)
    assert timed.counts["silence"] == TimingCount(0, 0, 2)
    assert timed.counts["talk every turn"] == TimingCount(2, 12 - 5, 0)
    assert timed.counts["frame difference"] == TimingCount(2, 0, 0)
    assert timed.difference_times_s == (5.0, 9.0)
    assert timed.missed == (TimeSpan(8.2, 11),)
    assert timed.false_replies == (TimedReply(7, "z"),)
    shown = timed.as_json()
    assert (shown["hit"], shown["false"], shown["missed"], shown["asked_anew"]) == (1, 1, 1, False)
    assert shown["f1"] == {
        "model": 50.0,
        "silence": 0.0,
        "talk every turn": 36.36,
        "frame difference": 100.0,
    }


def test_the_changes_are_those_of_the_frames_shown(folder):
    seen = watched(items_of(folder)[0], SilentPolicy())
    assert [clock_s for clock_s, _ in seen.changes] == list(range(1, 13))
    assert [clock_s for clock_s, change in seen.changes if change > 100] == [5, 9]


def test_questions_of_the_gold_file_or_in_other_words(folder):
    own = items_of(folder)
    assert [item.task.questions for item in own] == [
        (Question(f"Gold question {n}?", 1.5),) for n in "abc"
    ]
    assert not any(item.asked_anew for item in own)
    same = items_of(folder, ask="Say it.")
    assert [item.task.questions for item in same] == [(Question("Say it.", 1.5),)] * 3
    assert all(item.asked_anew and item.gold_question.startswith("Gold") for item in same)
    mixed = items_of(folder, ask="Say it.", asks={"b": "Only b."})
    assert [item.task.questions[0].text for item in mixed] == ["Say it.", "Only b.", "Say it."]
    some = items_of(folder, asks={"b": "Only b."})
    assert [item.asked_anew for item in some] == [False, True, False]
    assert [item.task.gold for item in some] == [item.task.gold for item in own]


def test_what_cannot_be_found_is_told(folder, tmp_path):
    with pytest.raises(DataError, match=r"one\.mp4 is missing.*--videos"):
        find_items(load_gold(folder / "gold.json"), tmp_path)
    with pytest.raises(DataError, match="no question_id 'z'"):
        items_of(folder, asks={"z": "What?"})
    (tmp_path / "asks.json").write_text('["What?"]')
    with pytest.raises(DataError, match="one object"):
        read_asks(tmp_path / "asks.json")
    with pytest.raises(DataError, match="cannot read"):
        read_asks(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="at least one clip"):
        tune_on_world("footage", 0)


@pytest.mark.parametrize("world", ["shapes", "footage"])
def test_tuning_finds_a_trigger_inside_its_grid(world):
    tuned = tune_on_world(world, 40)
    assert tuned.timing.f1 > 0.3
    assert edges_of(tuned) == []
    assert edges_of(TunedTrigger(Trigger(THRESHOLDS[0], COOLDOWNS_S[-1]), TimingCount())) != []


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command with a policy that speaks at 5 s and 9 s; the list fills with what it was
    asked."""
    asked: list[str] = []

    def session_for(task):
        asked.extend(q.text for q in task.questions)
        return ScriptedPolicy({5.0: "Now.", 9.0: "And now."})

    script = Script(session_for, "mini")
    monkeypatch.setattr("oncue.commands.evaluating.policy_spec", lambda *_: script)
    return asked


def words(folder: Path, *more: str) -> list[str]:
    return [
        "eval",
        "clips",
        str(folder / "gold.json"),
        "--videos",
        str(folder),
        "--tune-clips",
        "6",
        *more,
    ]


def test_for_people_tables_and_where_it_fails(folder, scripted, capsys, tmp_path):
    assert (
        cli.main(words(folder, "--ask", "Tell me everything that happens.", "--out", str(tmp_path)))
        == 0
    )
    printed = capsys.readouterr().out
    assert scripted == ["Tell me everything that happens."] * 3
    for told in (
        "model (mini)",
        "silence",
        "talk every turn",
        "frame difference",
        "Gold question b?",
        "asked instead: Tell me everything that happens.",
        "missed: 1-3 s",
        "false: 5 s 'Now.', 9 s 'And now.'",
        "tuned on 6 training clips of footage",
    ):
        assert told in printed
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["n_items"] == 3
    assert scores["sampling"] == {"temperature": 0.0, "reply_bias": 0.0, "max_new_tokens": 32}
    assert scores["ran"] == dict.fromkeys(
        ("server", "device", "dtype", "max_pixels", "context_tokens")
    )


def test_a_context_that_the_model_cannot_have_is_told(folder, capsys):
    assert cli.main(words(folder, "--context-tokens", "100000")) == 2
    assert "100000 tokens is too long for mini" in capsys.readouterr().err
    assert cli.main(words(folder, "--context-tokens", "0")) == 2
    assert "--context-tokens must be at least 1, got 0" in capsys.readouterr().err


def test_json_is_one_object_alone_on_stdout(folder, scripted, capsys, tmp_path):
    (tmp_path / "asks.json").write_text(json.dumps({"a": "Only a."}))
    assert cli.main(words(folder, "--asks", str(tmp_path / "asks.json"), "--json")) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    shown = json.loads(captured.out)
    assert scripted == ["Only a.", "Gold question b?", "Gold question c?"]
    # a: 2 hits; b: 1 missed, 2 false; c, where nothing is due: 2 false
    assert shown["policies"]["model"] == {
        "n_clips": 3,
        "n_hit": 2,
        "n_false": 4,
        "n_missed": 1,
        "precision": 33.33,
        "recall": 66.67,
        "f1": 44.44,
        "mean_f1": 33.33,
    }
    assert (shown["f1"], shown["silence_f1"]) == (44.44, 0.0)
    assert [item["asked"] for item in shown["items"]] == [
        ["Only a."],
        ["Gold question b?"],
        ["Gold question c?"],
    ]
    assert shown["items"][1]["missed_spans"] == [[1, 3]]
    assert shown["frame_difference"]["tune_world"] == "footage"


def test_bad_input_is_one_line_and_exit_2(folder, tmp_path, capsys):
    for line in (
        ["eval", "clips", str(folder / "gold.json"), "--videos", str(tmp_path)],
        ["eval", "clips", str(tmp_path / "none.json"), "--videos", str(folder)],
        words(folder, "--ask", " "),
        words(folder, "--model", str(tmp_path / "none")),
    ):
        assert cli.main(line) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_question_for_all_clips_takes_no_time(folder, scripted, capsys, tmp_path):
    (tmp_path / "asks.json").write_text(json.dumps({"a": "5: Only a."}))
    for flags in (
        ["--ask", "5: Now?"],
        ["--ask", "1,5: Now?"],
        ["--asks", str(tmp_path / "asks.json")],
    ):
        assert cli.main(words(folder, *flags)) == 2
        told = capsys.readouterr().err
        assert "leave it out here" in told
        assert told.count("\n") == 1
    assert scripted == []


def test_a_question_that_comes_too_late_is_told_before_the_first_clip_is_watched(
    folder, scripted, capsys, tmp_path
):
    late = row("late", "two.mp4") | {
        "conversation": [{"role": "user", "content": "Too late?", "time": 12.5}]
    }
    (tmp_path / "gold.json").write_text(json.dumps([row("a", "one.mp4"), late]))
    line = [
        "eval",
        "clips",
        str(tmp_path / "gold.json"),
        "--videos",
        str(folder),
        "--tune-clips",
        "6",
    ]
    assert cli.main(line) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "two.mp4, 'late': question 'Too late?' is at 12.5 s, but the video ends at 12 s" in told
    assert scripted == []
    check_items(items_of(folder))  # the control: those of the fixture are in time


def test_gold_past_the_end_of_its_video_is_refused(folder, tmp_path):
    """The gold file says how long the video should be: a shorter one is another, or was cut."""
    late = row("late", "one.mp4", [4.2, 6], [900, 950]) | {"duration": 1000}
    (tmp_path / "gold.json").write_text(json.dumps([late]))
    with pytest.raises(
        DataError, match=r"one\.mp4, 'late': gold begins at 900 s, but the video ends at 12 s"
    ):
        check_items(find_items(load_gold(tmp_path / "gold.json"), folder))


def test_a_clip_that_cannot_be_opened_is_told_before_the_first_is_watched(
    folder, scripted, capsys, tmp_path
):
    (tmp_path / "one.mp4").write_bytes((folder / "one.mp4").read_bytes())
    (tmp_path / "two.mp4").write_text("not a video")
    assert cli.main(["eval", "clips", str(folder / "gold.json"), "--videos", str(tmp_path)]) == 2
    assert "two.mp4 cannot be opened" in capsys.readouterr().err
    assert scripted == []


def test_the_hand_made_gold_of_real_clips():
    gold = REAL / "annotations" / "real_clips_gold.json"
    if not gold.is_file():
        pytest.skip(f"{gold} is not here; it is local test data, not part of the repository")
    items = find_items(load_gold(gold), REAL / "videos")
    assert len(items) >= 5
    shortest = min(items, key=lambda item: item.task.duration_s)
    timed = time_item(watched(shortest, SilentPolicy()), TUNED)
    assert timed.counts["model"].num_missed == len(shortest.task.gold)


def test_a_model_behind_a_server_is_timed_too(folder, capsys):
    def third_turn(messages):
        return ("Now", ".") if sum(m["role"] == "user" for m in messages) == 3 else ("NO", " REPLY")

    with OpenAIServer(third_turn, models=("qwen",)) as server:
        line = words(folder, "--server", server.url, "--json")
        assert cli.main(line) == 0
        assert cli.main([*line, "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    scores = json.loads(captured.out)
    spoken, silent = scores["policies"]["model"], scores["policies"]["silence"]
    assert scores["model"] == "qwen"
    assert (spoken["n_hit"], spoken["n_false"], silent["n_hit"]) == (
        1,
        2,
        0,
    )  # at 3 s; b is due from 1 to 3
    assert "--device" in captured.err.splitlines()[-1]
