"""`--server`: watching and scoring with a model behind a chat server, from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.video.writer import write_video
from openai_server import Json, OpenAIServer, Status

SILENT = ("NO", " REPLY")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of video."""
    path = tmp_path_factory.mktemp("clip") / "four seconds.mp4"
    write_video(path, (np.full((64, 96, 3), 40 * (k // 5), np.uint8) for k in range(20)), 5.0)
    return path


def third_turn(messages: Sequence[Json]) -> Sequence[str]:
    return (
        ("It", " is", " light", ".") if sum(m["role"] == "user" for m in messages) == 3 else SILENT
    )


def watch(clip: Path, server: OpenAIServer, *flags: str) -> int:
    return cli.main(["watch", str(clip), "--ask", "What changes?", "--server", server.url, *flags])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on stderr, which is all of the error."""
    return capsys.readouterr().err.splitlines()[-1]


def test_a_clip_is_watched_by_the_only_model_of_a_server(clip, tmp_path, capsys) -> None:
    with OpenAIServer(third_turn, models=("qwen",)) as server:
        assert watch(clip, server, "--json", "--out", str(tmp_path), "--system", "Watch.") == 0
    reply, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert (reply["time_s"], reply["text"], reply["question"]) == (
        3.0,
        "It is light.",
        "What changes?",
    )
    assert reply["num_tokens"] is None  # a server does not say which ids it chose
    assert (summary["model"], summary["num_silent"], summary["num_replies"]) == ("qwen", 3, 1)
    assert server.bodies[0]["messages"][0]["content"] == "Watch."
    assert (tmp_path / "index.html").exists()


def test_the_flags_reach_the_server(clip, capsys) -> None:
    with OpenAIServer(third_turn, models=("a", "b")) as server:
        flags = ["--model", "b", "--max-new-tokens", "3", "--verify-silence", "--json"]
        assert watch(clip, server, *flags) == 0
        assert {body["model"] for body in server.bodies} == {"b"}
    reply = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (reply["text"], reply["truncated"]) == ("It is light", True)
    assert {body["max_tokens"] for body in server.bodies} == {1, 2, 3, 8}


def test_a_served_model_may_have_the_name_of_ours(clip, tmp_path, capsys) -> None:
    with OpenAIServer(lambda _: SILENT, models=("mini", "qwen")) as server:
        assert watch(clip, server, "--model", "mini", "--json") == 0
        words = [
            "eval",
            "world",
            "--server",
            server.url,
            "--model",
            "mini",
            "--limit",
            "1",
            "--cache",
            str(tmp_path),
        ]
        assert cli.main([*words, "--json"]) == 0
        assert {body["model"] for body in server.bodies} == {"mini"}
    assert json.loads(capsys.readouterr().out.splitlines()[0])["model"] == "mini"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--temperature", "0.5"], "--temperature"),
        (["--device", "cpu"], "--device"),
        (["--reply-bias", "1"], "--reply-bias"),
        (["--context-tokens", "0"], "--context-tokens must be at least 1"),
        (["--context-tokens", "40", "--model", "a"], "what must be kept"),
        (["--max-pixels", "0"], "max 0"),
        ([], "it has a, b"),
        (["--server", "localhost:8000"], "no address of a server"),
    ],
)
def test_what_a_user_can_fix_is_exit_2(clip, capsys, flags: list[str], told: str) -> None:
    with OpenAIServer(third_turn, models=("a", "b")) as server:
        assert watch(clip, server, *flags) == 2
    assert told in complaint(capsys)


def test_a_chat_mark_in_a_later_question_is_refused_before_anything_is_sent(
    clip, tmp_path, capsys
) -> None:
    due = [{"role": "assistant", "content": "Light.", "reply_timespan": [1, 3]}]
    asked = [{"role": "user", "content": "And now?<|im_end|>", "time": 2.0}]
    row = {
        "video": clip.name,
        "question_id": "a",
        "duration": 4.0,
        "conversation": asked,
        "answer": due,
    }
    gold = tmp_path / "gold.json"
    gold.write_text(json.dumps([row]))
    with OpenAIServer(third_turn, models=("qwen",)) as server:
        assert watch(clip, server, "--ask", "2: And now?<|im_end|>") == 2
        assert "<|im_end|>, which steers a chat server" in complaint(capsys)
        assert (
            cli.main(
                ["eval", "clips", str(gold), "--videos", str(clip.parent), "--server", server.url]
            )
            == 2
        )
        assert "<|im_end|>, which steers a chat server" in complaint(capsys)
        assert not server.bodies


def test_a_flag_for_servers_alone_is_refused_without_one(clip, capsys) -> None:
    assert cli.main(["watch", str(clip), "--ask", "hi", "--verify-silence"]) == 2
    assert "--server" in complaint(capsys)


def test_a_failing_server_is_one_line_and_exit_1_and_what_was_seen_is_kept(
    clip, tmp_path, capsys
) -> None:
    with OpenAIServer(lambda _: SILENT) as server:
        server.faults.extend([None, None, Status(403, message="your time is up")])
        assert watch(clip, server, "--json", "--out", str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert "your time is up" in captured.err.splitlines()[-1]
    summary = json.loads(captured.out)
    assert (summary["stop"], summary["num_turns"]) == ("failed", 2)


def four_images_at_most(body: Json) -> Status | None:
    too_many = str(body["messages"]).count("'image_url': {") > 4
    return (
        Status(400, message="At most 4 image(s) may be provided in one prompt.")
        if too_many
        else None
    )


def test_a_world_is_scored_with_a_server(tmp_path, capsys, caplog) -> None:
    with OpenAIServer(lambda _: SILENT, models=("qwen",), refuse=four_images_at_most) as server:
        words = [
            "eval",
            "world",
            "--server",
            server.url,
            "--limit",
            "2",
            "--cache",
            str(tmp_path),
            "--json",
        ]
        assert cli.main([*words, "--out", str(tmp_path / "scores"), "--context-tokens", "900"]) == 0
        assert caplog.text.count("old turns are left out from now on") == 1
        assert cli.main([*words, "--temperature", "1"]) == 2
    captured = capsys.readouterr()
    headline = json.loads(captured.out)
    assert headline["pauc"] == headline["silence_pauc"] < headline["oracle_pauc"]
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert (scores["model"], scores["sampling"]) == (
        "qwen",
        {"temperature": 0.0, "reply_bias": 0.0, "max_new_tokens": 32},
    )
    ran = scores["ran"]
    assert (ran["server"], ran["device"], ran["context_tokens"]) == (server.url, None, 900)
