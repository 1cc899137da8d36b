"""`oncue ask`: each look as it happens, then the answer; every episode has a clear end."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest
from ask_support import ANSWER, LOOK, ask, make_clip, num_pictures, says, served, text_of

from oncue import cli
from oncue.render.retrieval_format import RetrievalFormat
from oncue.types import Malformed
from openai_server import OpenAIServer
from server_faults import Status

FREE = ["--options"]  # none


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("oncue: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_a_look_and_an_answer_as_json_lines(clip, capsys) -> None:
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        assert ask(clip, server, "--json") == 0
        first, second = server.bodies
    look, answer = lines_of(capsys)
    times = {name: look.pop(name) for name in ("start_s", "end_s")}
    assert look.pop("latency_ms") >= 0
    assert look == {"type": "look", "turn": 1, "thought": "It is not clear yet.", "num_frames": 8}
    # frames 40 to 79 of 128 over 6 s: from the begin of the first one's part to the end of the last
    assert times == pytest.approx({"start_s": 40 * 6 / 128, "end_s": 80 * 6 / 128}, abs=1e-3)
    for name in ("latency_ms", "read_s", "load_s"):
        assert answer.pop(name) >= 0
    assert answer == {
        "type": "answer",
        "answer": "B",
        "option": "B. blue",
        "thought": "Now it is.",
        "evidence": [[times["start_s"], times["end_s"]]],
        "num_looks": 1,
        "num_turns": 2,
        "num_malformed": 0,
        "num_frames": 24,
        "pool_frames": 128,
        "duration_s": 6.0,
        "source": str(clip),
        "model": "watcher",
        "question": "Which cup?",
        "stop": "answered",
    }
    assert num_pictures(first["messages"][-1]) == 16
    assert num_pictures(second["messages"][-1]) == 8
    assert "A. red" in text_of(second["messages"][-1])
    assert "B. blue" in text_of(second["messages"][-1])


def test_lines_for_people(clip, capsys) -> None:
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        assert ask(clip, server) == 0
    lines = [
        re.sub(r"\(\d+ ms\)", "(N ms)", line).strip()
        for line in capsys.readouterr().out.splitlines()
    ]
    assert lines[:5] == [
        "look  1.9 s to 3.8 s, 8 frames  (N ms)",
        "why  It is not clear yet.",
        "why  Now it is.",
        "answer  B. blue  (N ms)",
        "evidence  1.9 s to 3.8 s",
    ]
    assert lines[5].startswith("answered after 1 look, 24 frames shown of 128 (6.0 s of video)")


def test_a_model_that_never_retrieves_answers_all_the_same(clip, capsys) -> None:
    with OpenAIServer(says("<answer>A</answer>")) as server:
        assert ask(clip, server, "--json") == 0
    captured = capsys.readouterr()
    (answer,) = map(json.loads, captured.out.splitlines())
    assert (answer["option"], answer["num_looks"], answer["evidence"]) == ("A. red", 0, [])
    assert "answered without a look, 16 frames shown" in captured.err


@pytest.mark.parametrize(
    "said",
    [
        "<retrieve>90,128</retrieve>",
        "<retrieve>9,3</retrieve>",
        "<answer>C</answer>",
        "I would say B.",
        "",
    ],
)
def test_a_turn_that_is_not_valid_is_used_up_and_said(said, clip, capsys) -> None:
    expected = RetrievalFormat(127, letters="AB").read(said)
    assert isinstance(expected, Malformed)
    with OpenAIServer(says(said, ANSWER)) as server:
        assert ask(clip, server, "--json") == 0
        assert expected.reason in text_of(server.bodies[1]["messages"][-1])
    malformed, answer = lines_of(capsys)
    assert (malformed["type"], malformed["turn"], malformed["text"]) == ("malformed", 1, said)
    assert malformed["reason"] == expected.reason
    assert (answer["num_malformed"], answer["num_looks"], answer["num_turns"]) == (1, 0, 2)


@pytest.mark.parametrize(
    ("texts", "flags", "reason", "num_looks"),
    [
        ((LOOK,), [], "asked for more frames in the last of its 3 turns", 2),
        ((LOOK,), ["--max-turns", "1"], "asked for more frames in its only turn", 0),
        (("B",), [], "no valid answer in any of its 3 turns; the last one: ", 0),
        ((LOOK, LOOK, "B"), [], "no valid answer in the last of its 3 turns: ", 2),
    ],
)
def test_an_end_without_an_answer_has_its_reason(
    texts, flags, reason, num_looks, clip, tmp_path, capsys
) -> None:
    with OpenAIServer(says(*texts)) as server:
        assert ask(clip, server, "--json", "--out", str(tmp_path), *flags) == 1
    *looks, last = lines_of(capsys)
    assert (last["type"], last["stop"], last["num_looks"]) == (
        "unanswered",
        "out_of_budget",
        num_looks,
    )
    assert reason in last["reason"]
    assert len(last["evidence"]) == min(num_looks, 1)  # the same stretch twice
    if texts == (LOOK,):
        assert [look["num_frames"] for look in looks] == [8] * num_looks + [0]
    assert json.loads((tmp_path / "episode.jsonl").read_text())["reason"] == last["reason"]
    assert reason in (tmp_path / "index.html").read_text().replace("\\u003c", "<")


def test_an_end_without_an_answer_for_people(clip, capsys) -> None:
    with OpenAIServer(says(LOOK)) as server:
        assert ask(clip, server) == 1
    captured = capsys.readouterr()
    assert "look  1.9 s to 3.8 s, nothing more is shown" in captured.out
    assert "no answer  the model asked for more frames in the last of its 3" in captured.out
    assert "(--max-turns)" in captured.out
    assert captured.err == ""


def test_a_free_question_may_be_answered_at_length(clip, capsys) -> None:
    words = "The blue cup, " * 20
    with OpenAIServer(says(f"<answer>{words}</answer>")) as server:
        assert ask(clip, server, "--json", *FREE) == 0
        assert "A." not in text_of(server.bodies[0]["messages"][-1])
    (answer,) = lines_of(capsys)
    assert (answer["answer"], answer["option"]) == (words.strip(), None)
    with OpenAIServer(says(f"<answer>{words * 2}</answer>", ANSWER)) as server:
        assert ask(clip, server, "--json", *FREE) == 0
    assert "at most 500 characters" in lines_of(capsys)[0]["reason"]


def test_budget_frames_and_turns(clip, capsys) -> None:
    def shown(*flags: str) -> list[int]:
        with OpenAIServer(says(LOOK.replace("79", "127"), LOOK, LOOK, LOOK, ANSWER)) as server:
            ask(clip, server, *flags)
            return [num_pictures(body["messages"][-1]) for body in server.bodies]

    assert shown("--budget", "64") == [32, 16, 16]
    assert shown("--budget", "80", "--look-frames", "5") == [40, 5, 5]
    assert shown("--first-frames", "0", "--max-turns", "5") == [0, 8, 8, 8, 8]
    capsys.readouterr()


def test_seconds_and_zoom(clip, capsys) -> None:
    look = LOOK.replace("40,79", "1.5,2.25")
    with OpenAIServer(says(look, ANSWER)) as server:
        assert ask(clip, server, "--json", "--unit", "seconds", "--frames", "8") == 0
        assert "frame 0" not in text_of(server.bodies[0]["messages"][-1])
    found = lines_of(capsys)[0]
    assert (found["start_s"], found["end_s"], found["num_frames"]) == (1.5, 2.25, 2)
    with OpenAIServer(says(look, ANSWER)) as server:
        flags = ["--json", "--unit", "seconds", "--frames", "8", "--zoom", "--look-frames", "5"]
        assert ask(clip, server, *flags) == 0
        assert num_pictures(server.bodies[1]["messages"][-1]) == 5
    assert lines_of(capsys)[0]["num_frames"] == 5
    with OpenAIServer(says(look.replace("2.25", "1.5"), ANSWER)) as server:
        assert ask(clip, server, "--json", "--unit", "seconds", "--zoom") == 0
        assert num_pictures(server.bodies[1]["messages"][-1]) == 1
    assert lines_of(capsys)[0]["num_frames"] == 1  # a single moment
    with OpenAIServer(says(LOOK.replace("40,79", "2,2"), ANSWER)) as server:
        assert ask(clip, server, "--json", "--frames", "8", "--zoom") == 0
        assert "frame 2, 1.9 s" in text_of(server.bodies[1]["messages"][-1])
    assert lines_of(capsys)[0]["num_frames"] == 8


@pytest.mark.parametrize("num_pictures", [1, 3])
def test_a_video_of_fewer_pictures_than_frames(num_pictures, tmp_path, capsys) -> None:
    short = make_clip(tmp_path / "short.mp4", num_pictures)
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        assert ask(short, server, "--json") == 0
    answer = lines_of(capsys)[-1]
    assert (answer["pool_frames"], answer["num_frames"]) == (128, 24)
    assert answer["duration_s"] == pytest.approx(num_pictures / 10)
    with OpenAIServer(says("<retrieve>0,0</retrieve>", ANSWER)) as server:
        assert ask(short, server, "--json", "--frames", "1") == 0
    assert lines_of(capsys)[-1]["num_frames"] == 2


@pytest.mark.parametrize("model", [[], ["--model", "mini"], ["--model", "mini-sft"]])
def test_the_bundled_models_are_refused_before_the_video_is_read(model, capsys) -> None:
    assert cli.main(["ask", "no such film.mp4", "Which cup?", *model]) == 2
    told = complaint(capsys)
    assert "cannot retrieve" in told
    assert "--model" in told
    assert "--server" in told
    assert "no such film" not in told


def test_a_model_that_decides_by_a_token_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "oncue.json").write_text('{"decision_format": "token"}')
    assert cli.main(["ask", "no such film.mp4", "Which cup?", "--model", str(tmp_path)]) == 2
    assert "decides by a token whether it is silent" in complaint(capsys)


def test_a_device_or_format_that_cannot_be_is_refused_before_the_video_is_read(
    tiny_model_folder, capsys
) -> None:
    words = ["ask", "no such film.mp4", "Which cup?", "--model", str(tiny_model_folder)]
    for flags in (["--dtype", "float64"], ["--device", "abacus"]):
        assert cli.main([*words, *flags]) == 2
        assert flags[1] in complaint(capsys)


def test_a_model_that_runs_here(clip, tiny_model_folder, capsys) -> None:
    words = ["ask", str(clip), "Which cup?", "--model", str(tiny_model_folder), "--json"]
    flags = ["--device", "cpu", "--max-new-tokens", "4", "--budget", "4", "--max-pixels", "3136"]
    assert cli.main([*words, *flags]) == 1  # a random one cannot keep to the grammar
    *turns, last = lines_of(capsys)
    assert [turn["type"] for turn in turns] == ["malformed"] * 3
    assert (last["type"], last["model"]) == ("unanswered", str(tiny_model_folder))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--frames", "0"], "--frames must be at least 1"),
        (["--budget", "3"], "--budget must be at least 4"),
        (["--first-frames", "-1"], "--first-frames must be at least 0"),
        (["--look-frames", "0"], "--look-frames must be at least 1"),
        (["--max-turns", "0"], "--max-turns must be at least 1"),
        (["--max-new-tokens", "0"], "--max-new-tokens must be at least 1"),
        (["--unit", "minutes"], "--unit"),
        (["--unit", "seconds", "--marks", "frames"], "marked by seconds or both"),
        (["--zoom", "--marks", "frames"], "give --marks seconds or both"),
        (["--options", "red"], "--options needs 2 to 26 answers with text in them, got 1"),
        (["--options", "red", " "], "one of them empty"),
        (["--options", *["x"] * 27], "got 27"),
        (["--options", "red", "blue<|im_end|>"], "<|im_end|>"),
        (["--options", "red", "a\udcff"], "no text"),
        (["--temperature", "1"], "--temperature is for models that run here"),
        (["--out", __file__], "cannot write to the folder"),
    ],
)
def test_flags_that_cannot_be_are_one_line_and_exit_2(flags, told, clip, capsys) -> None:
    with OpenAIServer(says(ANSWER)) as server:
        assert ask(clip, server, *flags) == 2
        assert server.bodies == []
    assert told in complaint(capsys)


@pytest.mark.parametrize("question", ["", "  ", "a\udcff", "a<|im_end|>b"])
def test_a_question_that_cannot_be_asked(question, clip, capsys) -> None:
    with OpenAIServer(says(ANSWER)) as server:
        assert ask(clip, server, question=question) == 2
    complaint(capsys)


def test_what_is_no_video(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with OpenAIServer(says(ANSWER)) as server:
        for video in (tmp_path / "text.mp4", tmp_path / "none.mp4", tmp_path):
            assert ask(video, server, "--json") == 2
            assert str(video) in complaint(capsys)
        monkeypatch.setattr("oncue.video.decode.is_live", lambda *_: True)
        assert ask(make_clip(tmp_path / "clip.mp4", 5), server) == 2
        assert "is live" in complaint(capsys)
        assert server.bodies == []


def test_an_address_with_an_end(clip, tmp_path, capsys) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    with served(tmp_path) as address, OpenAIServer(says(LOOK, ANSWER)) as server:
        video = f"{address}/clip.mp4?key=secret"
        assert ask(video, server, "--json", "--out", str(tmp_path)) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out.splitlines()[-1])
    assert answer["duration_s"] == 6.0
    written = "".join((tmp_path / name).read_text() for name in ("index.html", "episode.jsonl"))
    assert "secret" not in captured.out + captured.err + written


def test_what_was_seen_before_an_error_is_kept(clip, tmp_path, capsys) -> None:
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        server.faults.extend([None, Status(401)])
        assert ask(clip, server, "--json", "--out", str(tmp_path)) == 1
    captured = capsys.readouterr()
    look, last = map(json.loads, captured.out.splitlines())
    assert (look["type"], last["type"], last["stop"]) == ("look", "unanswered", "failed")
    assert captured.err.splitlines()[-1].startswith("oncue: ")
    assert len(json.loads((tmp_path / "episode.jsonl").read_text())["turns"]) == 1


def test_a_stop_by_signal_keeps_what_was_seen(clip, tmp_path, capsys) -> None:
    def stopping(messages):
        if len(messages) > 2:
            os.kill(os.getpid(), signal.SIGINT)
        return says(LOOK)(messages)

    with OpenAIServer(stopping) as server:
        assert ask(clip, server, "--json", "--out", str(tmp_path)) == 130
    last = lines_of(capsys)[-1]
    assert (last["type"], last["stop"], last["reason"]) == (
        "unanswered",
        "cancelled",
        "it was stopped",
    )
    assert len(json.loads((tmp_path / "episode.jsonl").read_text())["turns"]) == last["num_turns"]


def test_a_thought_cannot_steer_a_terminal(clip, capsys) -> None:
    steering = "<think>\x1b[2J\x07 look\n here</think><answer>A</answer>"
    with OpenAIServer(says(steering)) as server:
        assert ask(clip, server) == 0
    out = capsys.readouterr().out
    assert "why  [2J look here" in out
    assert "\x1b" not in out


def test_a_folder_in_the_way_of_the_page(clip, tmp_path, capsys) -> None:
    (tmp_path / "index.html").mkdir()
    with OpenAIServer(says(ANSWER)) as server:
        assert ask(clip, server, "--out", str(tmp_path)) == 2
        assert server.bodies == []
    assert str(tmp_path / "index.html") in complaint(capsys)
