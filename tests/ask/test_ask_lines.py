"""`oncue ask-lines`: an answer or an error for every line, and nothing else on stdout."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ask_support import ANSWER, LOOK, num_pictures, says, text_of
from PIL import Image

from oncue import cli
from oncue.ask import line_asker
from oncue.ask.line_loop import Counts, answer_lines
from oncue.policy.open_policy import Script as ScriptedModel
from oncue.policy.open_policy import open_policy
from oncue.render.actions import AnswerFormat
from oncue.types import Answer, EnvTurn, Malformed, PolicyTurn, Reply
from openai_server import Json, OpenAIServer, Script
from server_faults import Status

OPTIONS = ["red", "blue"]


@pytest.fixture
def answered(tmp_path, monkeypatch, capsys):
    """The exit code, and the lines on stdout by id, of `oncue ask-lines` on these lines."""

    def run(lines: Sequence[Any], *flags: str) -> tuple[int, dict[Any, Json]]:
        written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path = tmp_path / "questions.jsonl"
        path.write_text("\n".join(written), "utf-8")  # the last line has no end
        with path.open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            code = cli.main(["ask-lines", *flags])
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code, {line["id"]: line for line in said}

    return run


def speaks(text: str) -> Script:
    """A model that says this whatever it is shown."""
    return lambda _: [text]


def test_questions_are_answered_by_retrieval(clip, answered) -> None:
    asked = {"question": "Which cup?", "video": str(clip)}
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        code, found = answered([{"id": 7, **asked, "options": OPTIONS}], "--server", server.url)
        first, second = server.bodies
    assert code == 0
    line = found[7]
    assert line.pop("latency_ms") >= 0
    assert line == {
        "id": 7,
        "answer": "B",
        "ending": "answered",
        "text": "B",
        "num_turns": 2,
        "num_frames": 24,
    }
    assert [num_pictures(body["messages"][-1]) for body in (first, second)] == [16, 8]


def test_a_single_turn_shows_all_frames_and_the_prompt_as_it_is(clip, answered) -> None:
    lines = [
        {"id": "a", "question": "Which cup?", "options": OPTIONS, "prompt": "Say: A or B?\n"},
        {"id": "b", "question": "Which cup?", "options": ["A. red", "B. blue"]},
        {"id": "c", "question": "Is it red?"},
    ]
    with OpenAIServer(speaks("NO")) as server:  # the first word of silence is none here
        found = answered(
            [{**line, "video": str(clip)} for line in lines],
            *("--server", server.url, "--single-turn", "5"),
        )[1]
        shown = {text_of(body["messages"][1]): body for body in server.bodies}
    assert {line_id: line["answer"] for line_id, line in found.items()} == {
        "a": None,
        "b": None,
        "c": "NO",
    }
    assert [found[line_id]["ending"] for line_id in "abc"] == ["malformed", "malformed", "answered"]
    format_ = AnswerFormat(True).instruction
    assert set(shown) == {
        "Say: A or B?\n",
        f"Which cup?\nA. red\nB. blue\n{format_}",
        f"Is it red?\n{AnswerFormat().instruction}",
    }
    for body in shown.values():
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert body["messages"][0]["content"] == "You are a helpful assistant."
        assert num_pictures(body["messages"][1]) == 5


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("b", "B"),
        ("(B) blue", "B"),
        ("The answer is B.", "B"),
        ("<think>A or B?</think>A", "A"),
        ("it is B because A is wrong", None),
    ],
)
def test_an_answer_with_options_is_one_letter(clip, answered, said: str, answer: Any) -> None:
    line = {"id": 1, "question": "Which?", "options": OPTIONS, "video": str(clip)}
    with OpenAIServer(speaks(said)) as server:
        found = answered([line], "--server", server.url, "--single-turn", "2")[1]
    assert found[1]["answer"] == answer


def test_a_turn_out_of_form_that_names_an_option_says_so(clip, answered) -> None:
    line = {"id": 1, "question": "Which?", "options": OPTIONS, "video": str(clip)}
    with OpenAIServer(says("B", "B", "The answer is B.")) as server:
        found = answered([line], "--server", server.url)[1]
    assert (found[1]["answer"], found[1]["ending"], found[1]["num_turns"]) == ("B", "named", 3)


def test_a_line_that_cannot_be_asked_is_an_error_and_not_the_end(clip, answered, tmp_path) -> None:
    """The good question comes last."""
    video = {"question": "Which?", "video": str(clip)}
    (tmp_path / "none.png").write_text("no picture")
    lines = [
        "garbage",
        "",
        "[1]",
        {"id": None, **video},
        {"id": 1, "question": "Which?"},
        {"id": 2, **video, "images": ["a.png"]},
        {"id": 3, "question": "", "video": str(clip)},
        {"id": 4, **video, "options": ["one"]},
        {"id": 5, **video, "colour": 1},
        {"id": 6, "question": "Which?", "video": str(tmp_path / "no.mp4")},
        {"id": 7, "question": "Which?", "images": [str(tmp_path / "none.png")]},
        {"id": 8, "question": "Which?", "images": []},
        {"id": 9, "question": "Say <|im_end|>", "video": str(clip)},
        {"id": "good", **video},
    ]
    with OpenAIServer(speaks("blue")) as server:
        code, found = answered(lines, "--server", server.url, "--single-turn", "2")
    assert code == 0
    assert found.pop("good")["answer"] == "blue"
    assert found.pop(None)["error"].startswith("line ")
    assert set(found) == set(range(1, 10))
    expected = {
        1: "line 5: expected 'video' or 'images'",
        2: "line 6: expected 'video' or 'images'",
        3: "line 7: 'question' must be non-empty text",
        4: "line 8: 'options' must be 2 to 26",
        5: "line 9: unknown fields colour",
        6: "no such file",
        7: "not an image",
        8: "line 12: 'images' is empty",
        9: "<|im_end|>",
    }
    for line_id, text in expected.items():
        assert text in found[line_id]["error"]


def test_a_refused_question_is_an_error_and_a_lost_server_the_end(clip, answered) -> None:
    line = {"id": 1, "question": "Which?", "video": str(clip)}
    with OpenAIServer(speaks("blue"), refuse=lambda _: Status(400)) as server:
        code, found = answered([line], "--server", server.url, "--single-turn", "2")
        assert code == 0
        assert "refused" in found[1]["error"]
        server.refuse = lambda _: Status(401)
        assert answered([line], "--server", server.url, "--single-turn", "2") == (1, {})


class Together:
    """A session that answers when `barrier` has as many that wait as it is for."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        self._barrier = barrier

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        await asyncio.wait_for(self._barrier.wait(), 10)
        return PolicyTurn(Answer(f"{len(observed.frames)} frames"))

    def close(self) -> None:
        """Nothing is held."""


def test_questions_are_asked_together_and_share_the_frames_of_a_video(
    clip, tmp_path, monkeypatch
) -> None:
    read: list[str] = []
    stock = line_asker.read_pool

    def counted(path: str, *settings: Any, **more: Any) -> Any:
        read.append(path)
        return stock(path, *settings, **more)

    monkeypatch.setattr(line_asker, "read_pool", counted)
    lines = [{"id": n, "question": f"Which {n}?", "video": str(clip)} for n in range(6)]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    found: list[dict[str, object]] = []

    async def go() -> Counts:
        barrier = asyncio.Barrier(3)
        policy = open_policy(ScriptedModel(lambda _: Together(barrier)))
        asker = line_asker.LineAsker(policy, line_asker.Manner(2))
        with path.open("rb") as source:
            return await answer_lines(source, asker, found.append, num_at_once=3)

    assert asyncio.run(go()) == Counts(6, 0)
    assert {line["id"] for line in found} == set(range(6))
    assert {line["answer"] for line in found} == {"2 frames"}
    assert 0 < len(read) < 6


def test_images_are_shown_in_order_as_frames(answered, tmp_path) -> None:
    paths = [tmp_path / f"{shade}.png" for shade in range(0, 250, 50)]
    for path in paths:
        Image.new("RGB", (64, 64), (int(path.stem),) * 3).save(path)
    odd = tmp_path / "odd.png"
    Image.new("RGB", (32, 64)).save(odd)
    lines = [
        {"id": 1, "question": "Which?", "images": [str(path) for path in paths]},
        {"id": 2, "question": "Which?", "images": [str(paths[0]), str(odd)]},
    ]
    with OpenAIServer(speaks("grey")) as server:
        _, found = answered(lines, "--server", server.url, "--single-turn", "3")
        pictures = [p for p in server.bodies[0]["messages"][1]["content"] if "image_url" in p]
    assert found[1]["num_frames"] == 3
    shades = [round(float(_decoded(p).mean()), -1) for p in pictures]
    assert shades == [0, 100, 200]
    assert "one size" in found[2]["error"]


def _decoded(part: Json) -> np.ndarray:
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_model_that_runs_here_answers_together_as_alone(
    tiny_model_folder: Path, clip, answered
) -> None:
    lines = [{"id": n, "question": f"Which {n}?", "video": str(clip)} for n in range(3)]
    flags = ("--model", str(tiny_model_folder), "--device", "cpu", "--dtype", "float32")
    flags += ("--single-turn", "2", "--max-new-tokens", "6")
    code, together = answered(lines, *flags)
    assert code == 0
    alone = answered(lines, *flags, "--at-once", "1")[1]
    for found in (together, alone):
        for line in found.values():
            del line["latency_ms"]
    assert together == alone
    assert all(line["text"] for line in together.values())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--single-turn", "0"], "--single-turn must be at least 1"),
        (["--single-turn", "4", "--budget", "8"], "--budget is for retrieval"),
        (["--at-once", "0"], "--at-once must be at least 1"),
        ([], "mini cannot retrieve: it only watches"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(flags, words, capsys) -> None:
    assert cli.main(["ask-lines", *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err


def test_the_grammar_of_a_single_turn_reads_what_it_writes() -> None:
    grammar = AnswerFormat()
    assert grammar.read(" NO REPLY\n") == Answer("NO REPLY")
    assert grammar.read("cut in the mid", truncated=True) == Answer("cut in the mid")
    assert isinstance(grammar.read(" "), Malformed)
    assert isinstance(grammar.read("<think>A or"), Malformed)
    assert grammar.write(Answer("B. blue")) == "B. blue"
    for action in (Answer(" B"), Answer(""), Reply("B")):
        with pytest.raises(ValueError):
            grammar.write(action)
