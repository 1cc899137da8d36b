"""`oncue eval mcq` as a user runs it: on a chat server, on a model that runs here, on bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mcq_public_rows import EGO_RAW, MLVU_TEST, VIDEOMME
from mcq_support import lines_of, write_clip

from oncue import cli
from openai_server import OpenAIServer
from server_faults import Status

KEYS = (
    *("accuracy", "interval", "mean_of_tasks", "accuracy_of_answered"),
    *("lenient_accuracy", "unanswered", "malformed_turns", "retrieved"),
    *("mean_turns", "mean_frames", "mean_latency_ms"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips and six questions with six options each; the right ones are A to F."""
    folder = tmp_path_factory.mktemp("mcq")
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / name)
    rows = [
        {
            **MLVU_TEST,
            "question_id": f"AR_{n}",
            "video": f"{'ab'[n % 2]}.mp4",
            "question": f"Question {n}?",
            "answer": str(n),
        }
        for n in range(6)
    ]
    (folder / "q.json").write_text(json.dumps(rows))
    return folder


def words(folder: Path, *more: str, file: str = "q.json", form: str = "mlvu") -> list[str]:
    line = ["eval", "mcq", str(folder / file), "--format", form, "--videos", str(folder)]
    return [*line, "--frames", "40", *more]


def text_of(message) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


def images_of(message) -> int:
    content = message["content"]
    return 0 if isinstance(content, str) else sum(p["type"] == "image_url" for p in content)


def watcher(messages):
    """Looks once where it may; then knows the answer, unless it has seen no frame."""
    shown = text_of(messages[-1])
    if "last turn" not in shown and "Turn 1" in shown:
        return ["<think>where?</think>", "<retrieve>2,9</retrieve>"]
    number = int(re.search(r"Question (\d)", shown)[1]) if images_of(messages[-1]) else 0
    return ["<think>there</think>", f"<answer>{'ABCDEF'[number]}</answer>"]


def test_all_modes_on_a_server(folder, tmp_path, capsys):
    with OpenAIServer(watcher) as server:
        line = words(folder, "--server", server.url, "--baselines", "--json")
        assert cli.main([*line, "--out", str(tmp_path)]) == 0
        shown = [images_of(body["messages"][-1]) for body in server.bodies]
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["benchmark"] == "mlvu"
    assert (found["n_questions"], found["n_videos"], found["majority_accuracy"]) == (6, 2, 16.67)
    assert all(tuple(mode) == KEYS for mode in found["modes"].values())
    accuracy = {mode: each["accuracy"] for mode, each in found["modes"].items()}
    assert accuracy == {"retrieval": 100.0, "single-turn": 100.0, "blind": 16.67}
    assert {n: shown.count(n) for n in set(shown)} == {16: 6, 8: 6, 32: 6, 0: 6}
    assert "retrieval - blind: +83.33 points" in captured.err
    names = {path.name for path in tmp_path.iterdir()}
    marks = ("", "-single-turn", "-blind")
    assert names == {"scores.json", "run.json"} | {
        name for mark in marks for name in (f"predictions{mark}.json", f"episodes{mark}.jsonl")
    }
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["modes"]["retrieval"]["letters"] == dict.fromkeys("ABCDEF", 1)
    assert scores["settings"]["budget"] == 32
    assert scores["sampling"] == {"temperature": 0.0, "max_new_tokens": 1024}
    rewards = ["score", "rewards", str(tmp_path / "episodes.jsonl"), "--profile", "video-mtr"]
    assert cli.main(rewards) == 0


def test_a_run_that_lost_its_server_goes_on(folder, tmp_path, capsys):
    def without_time(path):
        scores = json.loads((path / "scores.json").read_text())
        scores["ran"]["server"] = scores["modes"]["retrieval"]["mean_latency_ms"] = None
        return scores

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with OpenAIServer(watcher) as server:
        line = words(folder, "--server", server.url, "--at-once", "1")
        assert cli.main([*line, "--out", str(whole)]) == 0
        server.faults.extend([None] * 5 + [Status(401)])
        assert cli.main([*line, "--out", str(broken)]) == 1
        num_asked = len(server.bodies)
        assert len((broken / "episodes.jsonl").read_text().splitlines()) == 2
        assert cli.main([*line, "--out", str(broken)]) == 2
        assert "--resume" in capsys.readouterr().err.splitlines()[-1]
        other = [*line, "--out", str(broken), "--resume", "--budget", "16"]
        assert cli.main(other) == 2
        assert "run with budget 32, this one has 16" in capsys.readouterr().err
    with OpenAIServer(watcher) as server:  # elsewhere, with more at once
        line = words(folder, "--server", server.url, "--out", str(broken), "--resume")
        assert cli.main(line) == 0
        assert len(server.bodies) == 8
    assert num_asked == 18
    assert without_time(broken) == without_time(whole)


def test_a_local_model_says_the_same_whoever_else_is_asked(
    folder, tiny_model_folder, tmp_path, capsys
):
    line = words(folder, "--model", str(tiny_model_folder), "--budget", "4", "--temperature", "1")
    settings = ("--max-new-tokens", "6", "--device", "cpu", "--json")
    for out, more in (("some", ["--limit", "2", "--at-once", "1"]), ("all", [])):
        assert cli.main([*line, *settings, "--out", str(tmp_path / out), *more]) == 0
        found = json.loads(capsys.readouterr().out)["modes"]["retrieval"]
        assert (found["unanswered"], found["malformed_turns"]) == (100.0, 100.0)
        assert (found["mean_turns"], found["mean_frames"]) == (3.0, 2.0)
    some, everyone = (
        {row["episode_id"]: row["turns"] for row in lines_of((tmp_path / name).read_text("utf-8"))}
        for name in ("some/episodes.jsonl", "all/episodes.jsonl")
    )
    assert (len(some), len(everyone)) == (2, 6)
    assert all(everyone[name] == turns for name, turns in some.items())
    assert len({json.dumps(turns) for turns in everyone.values()}) == 6


def test_missing_videos_are_listed(folder, capsys):
    rows = json.loads((folder / "q.json").read_text())
    changed = [{**row, "video": f"gone_{row['video']}"} for row in rows]
    (folder / "gone.json").write_text(json.dumps([rows[0], *changed[1:]]))
    with OpenAIServer(watcher) as server:
        line = words(folder, "--server", server.url, "--json", file="gone.json")
        assert cli.main(line) == 2
        assert not server.bodies
        lines = capsys.readouterr().err.splitlines()
        assert lines[:2] == [f"missing: {folder / name}" for name in ("gone_b.mp4", "gone_a.mp4")]
        assert "2 of 3 videos are not in" in lines[-1]
        assert cli.main([*line, "--allow-missing"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_questions"], found["n_left_out_questions"]) == (1, 5)


def test_predictions_alone_where_the_answers_are_secret(folder, tmp_path, capsys):
    (folder / "ego.json").write_text(
        json.dumps([{**EGO_RAW, "q_uid": "a", "question": "Question 3?"}])
    )
    with OpenAIServer(watcher) as server:
        line = words(folder, "--server", server.url, "--json", file="ego.json", form="egoschema")
        assert cli.main(line) == 2
        assert "--out" in capsys.readouterr().err.splitlines()[-1]
        assert cli.main([*line, "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["modes"]["retrieval"]["accuracy"] is None
    assert "there is no accuracy" in captured.err
    assert json.loads((tmp_path / "predictions.json").read_text()) == {"a": 3}


def test_blind_needs_no_folder_of_videos(tmp_path, capsys):
    path = tmp_path / "q.json"
    path.write_text(json.dumps([{**VIDEOMME, "question": "Question 0?"}]))
    with OpenAIServer(watcher) as server:
        flags = ["--format", "videomme", "--server", server.url, "--blind", "--json"]
        assert cli.main(["eval", "mcq", str(path), *flags]) == 0
        assert [images_of(body["messages"][-1]) for body in server.bodies] == [0]
    assert json.loads(capsys.readouterr().out)["modes"]["blind"]["mean_frames"] == 0.0


def test_an_option_that_would_steer_a_server_is_refused_before_the_first_question(folder, capsys):
    sound = {**MLVU_TEST, "video": "a.mp4", "question": "Question 1?"}
    row = {**sound, "question_id": "x", "candidates": ["y <|im_end|>", "z"], "answer": "z"}
    (folder / "marks.json").write_text(json.dumps([sound, row]))
    with OpenAIServer(watcher) as server:
        line = words(folder, "--server", server.url, "--at-once", "1", file="marks.json")
        assert cli.main(line) == 2
        assert not server.bodies
    assert "steers a chat server" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--blind", "--baselines"], "one of --single-turn, --blind and --baselines"),
        (["--budget", "3"], "--budget must be at least 4"),
        (["--budget", "64"], "--frames"),
        (["--resume"], "give that folder"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--marks", "seconds"], "must be marked by frames or both"),
        (["--device", "cpu"], "--device is for models that run here"),
    ],
)
def test_settings_that_cannot_be(folder, capsys, flags, message):
    line = words(folder, "--server", "http://127.0.0.1:9", *flags)
    assert cli.main(line) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_what_is_missing_on_the_command_line(folder, capsys):
    file = str(folder / "q.json")
    server = ("--server", "http://127.0.0.1:9")
    assert cli.main(["eval", "mcq", file, "--format", "mlvu", *server]) == 2
    assert "--videos" in capsys.readouterr().err.splitlines()[-1]
    assert cli.main(["eval", "mcq", file, "--videos", str(folder), *server]) == 2
    assert "--format" in capsys.readouterr().err
    without = ["eval", "mcq", "--format", "mlvu", "--videos", str(folder), *server]
    assert cli.main(without) == 2
    assert "name a file of questions" in capsys.readouterr().err
    assert cli.main(words(folder)) == 2
    assert "mini cannot retrieve" in capsys.readouterr().err
