"""The plug-in for lmms-eval, without lmms-eval: its process, and how it takes questions apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue.video.writer import write_video
from oncue_lmms_eval.contexts import Parts, taken_apart
from oncue_lmms_eval.process import OncueError, OncueProcess
from oncue_lmms_eval.settings import command_of
from openai_server import OpenAIServer

QUESTIONS = [{"question": f"{number}?"} for number in range(4)]
ECHO = "print(json.dumps({'id': row['id'], 'answer': row['question']}), flush=True)"


def script(work: str, folder: Path) -> list[str]:
    """A process that does `work` for each line, its object in `row`; `starts` counts starts."""
    text = f"""
import json, os, pathlib, sys, time
counter = pathlib.Path({str(folder / "starts")!r})
starts = len(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text("x" * starts)
for line in sys.stdin:
    row = json.loads(line)
    {work}
"""
    return [sys.executable, "-S", "-c", text]


def num_starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


def answers(process: OncueProcess) -> dict[int, Any]:
    return {number: line["answer"] for number, line in process.answers(QUESTIONS)}


EXPECTED = {number: f"{number}?" for number in range(4)}


def test_oncue_itself_answers_and_says_what_it_cannot(tmp_path: Path) -> None:
    """One process, and the second question is asked when the first is answered."""
    clip = tmp_path / "blue.mp4"
    write_video(clip, (np.full((64, 64, 3), 90, np.uint8) for _ in range(10)), 10.0)
    asked = {"question": "Which?", "options": ("red", "blue"), "prompt": "Which?\nA. red\nB. blue"}
    questions = [{**asked, "video": str(clip)}, {**asked, "video": str(tmp_path / "no.mp4")}]
    with OpenAIServer(lambda _: ["(B) ", "blue"]) as server:
        command = [sys.executable, "-m", "oncue", "ask-lines", "--server", server.url]
        with OncueProcess([*command, "--single-turn", "2"], num_at_once=1) as process:
            found = dict(process.answers(questions))
            again = dict(process.answers(questions[:1]))
    assert found[0]["answer"] == again[0]["answer"] == "B"
    assert "no such file" in found[1]["error"]


def test_wrong_flags_are_no_reason_to_start_again(capfd) -> None:
    said: list[str] = []
    command = [sys.executable, "-m", "oncue", "ask-lines", "--budget", "1"]
    with (
        OncueProcess(command, say=said.append) as process,
        pytest.raises(OncueError, match="exit code 2"),
    ):
        answers(process)
    assert not said
    assert "--budget must be at least 4" in capfd.readouterr().err


def test_answers_may_come_in_any_order(tmp_path: Path) -> None:
    work = (
        f"held = globals().setdefault('held', []); held.append(row)\n    if len(held) == 4:\n"
        f"        for row in reversed(held): {ECHO}"
    )
    with OncueProcess(script(work, tmp_path)) as process:
        found = answers(process)
    assert found == EXPECTED
    assert list(found) == [3, 2, 1, 0]


def test_a_process_that_dies_is_started_once_more_and_asked_again(tmp_path: Path) -> None:
    said: list[str] = []
    work = f"starts == 1 and row['id'] == 2 and os._exit(3); {ECHO}"
    with OncueProcess(script(work, tmp_path), num_at_once=2, say=said.append) as process:
        assert answers(process) == EXPECTED
    assert num_starts(tmp_path) == 2
    assert said == ["oncue has ended with exit code 3; it is started once more"]


def test_questions_that_nobody_waits_for_are_not_answered_later(tmp_path: Path) -> None:
    """Their numbers are those of the next questions."""
    with OncueProcess(script(ECHO, tmp_path)) as process:
        left = process.answers([{"question": "old"}] * 4)
        next(left)
        left.close()
        assert answers(process) == EXPECTED
    assert num_starts(tmp_path) == 2


def test_a_second_end_ends_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    work = f"row['id'] == 2 and os._exit(3); {ECHO}"
    with (
        OncueProcess(script(work, tmp_path), num_at_once=2, say=said.append) as process,
        pytest.raises(OncueError, match="ended once more with exit code 3, and 2 questions"),
    ):
        answers(process)
    assert num_starts(tmp_path) == 2
    assert len(said) == 1


def test_no_answer_in_time_ends_the_process(tmp_path: Path) -> None:
    with (
        OncueProcess(script("time.sleep(60)", tmp_path), timeout_s=0.3) as process,
        pytest.raises(OncueError, match=r"no answer for 0.3 s.*timeout_s"),
    ):
        answers(process)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("hello", "expected an answer of oncue"),
        (json.dumps([1]), "expected an answer of oncue"),
        (json.dumps({"id": 0}), "expected an answer of oncue"),
        (json.dumps({"id": 9, "answer": "A"}), "could not read a question"),
        (json.dumps({"id": None, "error": "line 1 is bad"}), "line 1 is bad"),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, said: str, words: str) -> None:
    with (
        OncueProcess(script(f"print({said!r}, flush=True)", tmp_path)) as process,
        pytest.raises(OncueError, match=words),
    ):
        answers(process)


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        OncueProcess([str(tmp_path / "python")]) as process,
        pytest.raises(OncueError, match=r"cannot start .*python="),
    ):
        answers(process)


def test_a_long_question_does_not_block_a_process_that_is_still_loading(tmp_path: Path) -> None:
    """More than a pipe holds, while nobody reads."""
    command = script(ECHO, tmp_path)
    command[-1] = command[-1].replace("for line in", "time.sleep(0.5)\nfor line in")
    questions = [{"question": "x" * 200_000}] * 3
    with OncueProcess(command, timeout_s=20) as process:
        assert [len(line["answer"]) for _, line in process.answers(questions)] == [200_000] * 3


@pytest.mark.parametrize(
    ("context", "question", "options"),
    [
        # Shapes as tasks of lmms-eval write them, in words of our own
        (
            "Select the best option for this question. Respond with only its letter.\n"
            "Who enters?\nA. A man.\nB. A dog.\nC. Nobody.\n\nAnswer with the option's letter.",
            "Who enters?",
            ("A man.", "A dog.", "Nobody."),
        ),
        (
            "Question:Who enters?\nOption:\n(A) a man\n(B) a dog\nOnly give the best option.\n",
            "Question:Who enters?",
            ("a man", "a dog"),
        ),
        ("Who?\nOptions:\nA) x\nB) y\nThe best answer is:", "Who?", ("x", "y")),
        # Words that are no matter of form stay
        (
            "Subtitles:\nHe answers.\nWho?\nA. x\n\nB. y\nIt happens at the end.",
            "Subtitles:\nHe answers.\nWho?\nIt happens at the end.",
            ("x", "y"),
        ),
        # The last run, in one style
        (
            "A. first\nB. second\nWho?\nA. x\nB. y\nC) z",
            "A. first\nB. second\nWho?\nC) z",
            ("x", "y"),
        ),
        (
            "Answer with the letter of one:\nA. x\nB. y",
            "Answer with the letter of one:",
            ("x", "y"),
        ),
        ("A. x\nB. y", "Which option is right?", ("x", "y")),
    ],
)
def test_options_are_taken_out_of_a_question(context: str, question: str, options: Any) -> None:
    assert taken_apart(context) == Parts(question, options)


@pytest.mark.parametrize(
    "context",
    [
        "Who enters?",
        "Name the man.\nA. Smith was here.",
        "Who?\nB. x\nA. y",
        "Who?\nA. x\nsomething else\nB. y",
        "Who?\nA. x\n(B) y",
        "Who? A. x B. y",
        "",
    ],
)
def test_other_questions_stay_whole(context: str) -> None:
    assert taken_apart(context) is None


def test_settings_are_flags_of_the_command() -> None:
    given = {"server": "http://s", "device": "cuda:0", "budget": 64, "at_once": 2}
    words = command_of("py", "retrieval", "stop", given)
    assert words[:4] == ["py", "-m", "oncue", "ask-lines"]
    assert words[4:] == ["--server", "http://s", "--budget", "64", "--at-once", "2"]
    words = command_of("py", "single_turn", "empty", {"device": "cuda:0", "frames": 32})
    assert words[4:] == ["--device", "cuda:0", "--single-turn", "32"]


@pytest.mark.parametrize(
    ("python", "mode", "on_error", "given", "words"),
    [
        ("", "retrieval", "stop", {}, "python=/path/to/bin/python"),
        ("py", "two", "stop", {}, "mode is retrieval or single_turn, got 'two'"),
        ("py", "retrieval", "go", {}, "on_error is stop or empty"),
        ("py", "single_turn", "stop", {}, "needs frames=N"),
        ("py", "single_turn", "stop", {"frames": 4, "budget": 8}, "has no budget"),
        ("py", "retrieval", "stop", {"colour": 1}, "unknown settings colour"),
    ],
)
def test_settings_that_cannot_be_are_named(
    python: str, mode: str, on_error: str, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        command_of(python, mode, on_error, given)
