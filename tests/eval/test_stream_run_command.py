"""`--run` of the benchmarks of proactive models, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from stream_run_support import make_benchmark

from oncue import cli
from openai_server import Json, OpenAIServer

LIGHT = ("It", " is", " light", ".")
SILENT = ("NO", " REPLY")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> tuple[Path, Path]:
    return make_benchmark(tmp_path_factory.mktemp("benchmark"))


def command(benchmark: tuple[Path, Path], *flags: str) -> list[str]:
    annotations, videos = benchmark
    at = ["--annotations", str(annotations), "--run", "--videos", str(videos)]
    return ["eval", "omnimmi", *at, *flags]


def scores(capsys: pytest.CaptureFixture[str]) -> Json:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_what_was_run_is_scored_at_once_and_again_from_the_file(
    benchmark, tmp_path, capsys
) -> None:
    said = tmp_path / "out" / "predictions.jsonl"
    flags = ["--policy", "delay:2", "--out", str(said.parent), "--json"]
    assert cli.main(command(benchmark, *flags)) == 0
    found = scores(capsys)
    assert (found["model"], found["accuracy"], found["n_items"]) == ("delay:2", 50.0, 4)
    assert found["behaviour"]["watched_s"] == 21.0
    assert found["protocol"]["policy"] == "delay:2"
    kept = json.loads((said.parent / "scores.json").read_text())
    assert {**kept, **found} == kept
    again = ["eval", "omnimmi", "--annotations", str(benchmark[0]), "--predictions", str(said)]
    assert cli.main([*again, "--json"]) == 0
    assert scores(capsys) == found


def test_a_trial_is_scored_on_its_items_alone(benchmark, tmp_path, capsys) -> None:
    said = tmp_path / "said.jsonl"
    flags = ["--policy", "talk", "--limit", "2", "--seed", "1", "--predictions", str(said)]
    assert cli.main(command(benchmark, *flags, "--json")) == 0
    found = scores(capsys)
    assert (found["n_items"], found["n_missing_predictions"]) == (2, 0)
    assert (found["protocol"]["limit"], found["protocol"]["seed"]) == (2, 1)
    ids = json.loads(said.read_text().splitlines()[0])["items"]
    again = ["eval", "omnimmi", "--annotations", str(benchmark[0]), "--predictions", str(said)]
    assert cli.main([*again, "--json"]) == 0
    assert scores(capsys) == found
    assert cli.main(command(benchmark, *flags, "--seed", "5", "--resume")) == 2
    assert "seed 1, this one has 5" in complaint(capsys)
    assert len(ids) == 2


def test_missing_videos_are_listed_and_left_out_only_if_asked_to(
    benchmark, tmp_path, capsys
) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"one.mp4": None, "two.mp4": "three.mp4"}))
    flags = ["--policy", "talk", "--out", str(tmp_path / "out"), "--video-names", str(names)]
    assert cli.main(command(benchmark, *flags)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("missing: ")] == [
        f"missing: {benchmark[1] / 'one.mp4'}"
    ]
    assert "1 of 3 videos are not in" in lines[-1]
    assert cli.main(command(benchmark, *flags, "--allow-missing", "--json")) == 0
    found = scores(capsys)
    assert (found["n_items"], found["n_left_out"]) == (3, 1)
    said = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[1:]
    assert [json.loads(line)["watched_s"] for line in said] == [5.0, 5.0, 5.0]  # by the other name


def test_a_server_is_run_with_a_reply_bias(benchmark, tmp_path, capsys) -> None:
    def script(messages: Sequence[Json]) -> Sequence[str]:
        return LIGHT if sum(m["role"] == "user" for m in messages) == 3 else SILENT

    with OpenAIServer(script, models=("qwen",)) as server:
        flags = ["--server", server.url, "--out", str(tmp_path / "a"), "--json"]
        assert cli.main(command(benchmark, *flags)) == 0
        found = scores(capsys)
        assert (found["model"], found["behaviour"]["n_replies"]) == ("qwen", 4)
        assert found["protocol"]["server"] == server.url
        assert found["protocol"]["temperature"] == 0.0
        assert found["protocol"]["window"] == "64 turns"
        flags[3] = str(tmp_path / "b")
        assert cli.main(command(benchmark, *flags, "--thresholds", "0", "1")) == 0
        swept = scores(capsys)["sweep"]
        assert [row["model"] for row in swept] == ["qwen, threshold:0", "qwen, threshold:1"]
        assert [row["protocol"]["reply_bias"] for row in swept] == [0.0, -1.0]
        folders = [tmp_path / "b" / f"threshold_{threshold}" for threshold in (0, 1)]
        names = {f"predictions_{folder.name}.jsonl" for folder in folders}
        names |= {"scores.json", *(folder.name for folder in folders)}
        assert {path.name for path in (tmp_path / "b").iterdir()} == names
        for folder, row in zip(folders, swept, strict=True):
            found = json.loads((folder / "scores.json").read_text())
            assert {**found, **row} == found
            assert (folder / "index.html").is_file()
        assert cli.main(["eval", "compare", *map(str, folders)]) == 0


def test_a_model_with_a_threshold_and_blind(benchmark, tiny_model_folder, tmp_path, capsys) -> None:
    model = ["--model", str(tiny_model_folder), "--device", "cpu", "--max-new-tokens", "2"]
    silent = {}
    for name in ("threshold:50", "threshold:-50", "blind"):
        flags = ["--out", str(tmp_path / name), "--policy", name, "--limit", "2", "--json", *model]
        assert cli.main(command(benchmark, *flags)) == 0
        found = scores(capsys)
        assert found["model"] == f"{tiny_model_folder}, {name}"
        assert found["protocol"]["device"] == "cpu"
        assert found["protocol"]["window"] == "whole"
        assert len(found["protocol"]["system"]) == 12
        silent[name] = found["behaviour"]["silence_share"]
    assert (silent["threshold:50"], silent["threshold:-50"]) == (100.0, 0.0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--out or --predictions"),
        (["--out", "x", "--policy", "loud"], "unknown policy 'loud'"),
        (["--out", "x", "--format", "official"], "leave --format out"),
        (["--out", "x", "--judge", "lexical"], "needs no judge"),
        (["--out", "x", "--frame-interval-s", "0"], "--frame-interval-s cannot be used"),
        (["--out", "x", "--frames-per-turn", "0"], "--frames-per-turn must be at least 1"),
        (["--out", "x", "--policy", "talk", "--say", " "], "--say is empty"),
        (["--out", "x", "--say", "Now"], "--say does nothing with --policy model"),
        (["--out", "x", "--poll-frames", "3"], "--poll-frames does nothing"),
        (["--out", "x", "--policy", "talk", "--model", "mini"], "--model does nothing"),
        (
            ["--out", "x", "--policy", "polling", "--poll-frames", "0"],
            "--poll-frames must be at least 1",
        ),
        (["--out", "x", "--thresholds", "1", "--policy", "blind"], "not both"),
        (["--out", "x", "--policy", "threshold:1", "--reply-bias", "1"], "--reply-bias does"),
        (["--out", "x", "--thresholds", "1", "--reply-bias", "1"], "nothing with --thresholds"),
        (["--out", "x", "--thresholds", "1", "--record", "y"], "--record is for the judgements of"),
        (["--out", "x", "--curve", "nowhere.json"], "cannot read nowhere.json"),
        (["--out", "x", "--calibrate-false-per-hour", "1", "--curve", "y"], "leave --curve out"),
        (["--out", "x", "--calibrate-false-per-hour", "1", "--judge", "y"], "leave --judge out"),
        (["--out", "x", "--system", ""], "--system is empty"),
        (["--out", "x", "--video-names", "nowhere.json"], "cannot read nowhere.json"),
    ],
)
def test_flags_that_cannot_be_are_refused(
    benchmark, tmp_path, monkeypatch, capsys, flags, message
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command(benchmark, *flags)) == 2
    assert message in complaint(capsys)


@pytest.mark.parametrize("flags", [["--policy", "talk"], ["--limit", "3"], ["--allow-missing"]])
def test_without_run_its_flags_are_refused(benchmark, capsys, flags) -> None:
    at = ["--annotations", str(benchmark[0]), "--predictions", "x.jsonl"]
    assert cli.main(["eval", "omnimmi", *at, *flags]) == 2
    assert f"{flags[0]} is for --run" in complaint(capsys)


def test_a_run_killed_from_outside_goes_on(benchmark, tmp_path, capsys) -> None:
    """SIGKILL in the middle of an item; resumed, the file is that of a run that was not killed."""

    is_killed = threading.Event()

    def script(messages: Sequence[Json]) -> Sequence[str]:
        num = sum(m["role"] == "user" for m in messages)
        if "when it ends" in str(messages) and num == 3:
            is_killed.wait(60)
        return LIGHT if num == 3 else SILENT

    with OpenAIServer(script, models=("qwen",)) as server:
        flags = ["--server", server.url, "--at-once", "1", "--out"]
        process = subprocess.Popen(
            [sys.executable, "-m", "oncue", *command(benchmark, *flags, str(tmp_path / "a"))],
            env=os.environ,
            stderr=subprocess.DEVNULL,
        )
        said = tmp_path / "a" / "predictions.jsonl"
        until_s = time.monotonic() + 60
        while not (said.exists() and len(said.read_text().splitlines()) == 3):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        is_killed.set()
        assert cli.main(command(benchmark, *flags, str(tmp_path / "a"), "--resume")) == 0
        num_asked = len(server.bodies)
        assert cli.main(command(benchmark, *flags, str(tmp_path / "b"))) == 0
    whole = tmp_path / "b" / "predictions.jsonl"
    assert said.read_bytes() == whole.read_bytes()
    assert len(server.bodies) - num_asked > 20  # a turn each
    capsys.readouterr()
