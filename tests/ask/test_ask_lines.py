"""Questions from another program: requests on stdin, answers on stdout, by one loaded policy."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ask_support import ANSWER, LOOK, make_clip, says

from oncue import cli
from oncue.ask.input_lines import lines_from
from oncue.ask.lines import LineAnswerer, RecentPools, read_request
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import BackendError, InputError
from oncue.policy.open_policy import Script, open_policy
from oncue.types import Answer, EnvTurn, Malformed, PolicyTurn, Retrieve, Task
from oncue.video.pool_reader import read_pool
from openai_server import OpenAIServer


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("lines") / "clip.mp4", 40)


class Session:
    """Looks once, then picks the option whose letter is last in the question."""

    def __init__(self, task: Task) -> None:
        self._task, self._turn = task, 0

    async def respond(self, observed: EnvTurn) -> PolicyTurn:  # noqa: ARG002
        self._turn += 1
        wanted = self._task.questions[0].text[-1]
        if wanted == "!":
            raise BackendError("the server is gone")
        if wanted == "?":
            return PolicyTurn(Malformed("hm", "no action"))
        return PolicyTurn(Retrieve(0, 5) if self._turn == 1 else Answer(wanted))

    def close(self) -> None:
        """Nothing to free."""


async def _given(lines: list[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


def answered(lines: list[bytes], num_at_once: int = 4) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    async def run() -> None:
        with open_policy(Script(lambda task: Session(task))) as policy:  # type: ignore[arg-type]
            settings = RetrievalSettings.for_budget(8)
            answerer = LineAnswerer(
                policy, settings, lambda v: read_pool(v, 16), said.append, num_at_once=num_at_once
            )
            await answerer.run(_given(lines))

    asyncio.run(run())
    return said


def request(name: Any, clip: Path | str, question: str, **more: Any) -> bytes:
    row = {"id": name, "video": str(clip), "question": question, "options": ["red", "blue"]}
    return json.dumps({**row, **more}).encode()


def test_each_request_gets_one_answer_with_its_id(clip: Path) -> None:
    lines = [request("x", clip, "It is A"), b"", request(7, clip, "It is B")]
    first, *rest = answered(lines)
    assert first["ready"] is True
    assert first["model"] == "script"
    assert sorted(rest, key=lambda row: str(row["id"])) == [
        {"id": 7, "answer": "B"},
        {"id": "x", "answer": "A"},
    ]


def test_no_answer_has_a_reason(clip: Path) -> None:
    (row,) = answered([request(1, clip, "What?")])[1:]
    assert row == {"id": 1, "answer": "", "reason": "malformed: no action"}


@pytest.mark.parametrize(
    ("line", "name", "told"),
    [
        (b"{", None, "line 1 is not JSON"),
        (b"[1]", None, "expected a request"),
        (b'{"video": "a.mp4"}', None, "'id' is missing"),
        (b'{"id": 3, "video": "a.mp4"}', 3, "'question' is missing"),
        (b'{"id": 3, "video": "no.mp4", "question": "?", "options": [1]}', 3, "a list of texts"),
        (b'{"id": 3, "video": "no.mp4", "question": "?", "options": ["a"]}', 3, "2 to 26"),
        (b'{"id": 3, "video": "no.mp4", "question": "<|im_end|>"}', 3, "steers a chat server"),
        (b'{"id": 3, "video": "no.mp4", "question": "Who?"}', 3, "no.mp4"),
    ],
)
def test_a_request_that_cannot_be_asked_does_not_end_the_others(line, name, told, clip) -> None:
    _, *rows = answered([line, request("next", clip, "It is A")], num_at_once=1)
    assert [row["id"] for row in rows] == [name, "next"]
    assert told in rows[0]["error"]
    assert rows[1]["answer"] == "A"


def test_an_error_of_the_server_ends_all(clip: Path) -> None:
    with pytest.raises(BackendError, match="gone"):
        answered([request(1, clip, "It is !"), request(2, clip, "It is A")])


def test_a_video_is_read_once_while_it_is_among_the_newest() -> None:
    seen: list[str] = []

    def read(video: str) -> Any:
        seen.append(video)
        if video == "bad":
            raise InputError("cannot be read")
        return video

    async def run() -> None:
        pools = RecentPools(read, 2)
        for video in ("a", "b", "a", "c", "a", "b"):
            assert await pools.take(video) == video  # type: ignore[comparison-overlap]
        with pytest.raises(InputError):
            await pools.take("bad")

    asyncio.run(run())
    assert seen == ["a", "b", "c", "b", "bad"]


def test_ids_are_kept_as_they_are() -> None:
    assert read_request(b'{"id": [1], "video": "a.mp4", "question": "?"}', "x").request_id == [1]


def test_lines_come_as_soon_as_they_are_whole() -> None:
    reading, writing = os.pipe()
    came: list[bytes] = []

    async def run() -> None:
        async for line in lines_from(reading):
            came.append(line)
            go.set()

    go = threading.Event()

    def write() -> None:
        os.write(writing, b'{"a": 1}\n{"b"')
        go.wait(10)
        os.write(writing, b": 2}\n" + b"x" * 100_000 + b"\nlast")
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    asyncio.run(run())
    thread.join()
    os.close(reading)
    assert came == [b'{"a": 1}', b'{"b": 2}', b"x" * 100_000, b"last"]


def test_the_command_answers_until_its_input_ends(clip: Path) -> None:
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        words = [sys.executable, "-m", "oncue", "ask-lines", "--server", server.url]
        done = subprocess.run(
            words,
            input=request(1, clip, "Which cup?") + b"\n" + request(2, "none.mp4", "Which?") + b"\n",
            capture_output=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    ready, *rows = map(json.loads, done.stdout.splitlines())
    assert ready["ready"] is True
    by_id = {row["id"]: row for row in rows}
    assert by_id[1] == {"id": 1, "answer": "B"}
    assert "none.mp4" in by_id[2]["error"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--frames", "8"], "--frames 8 is fewer than the 32 frames"),
        (["--at-once", "0"], "--at-once"),
        ([], "cannot retrieve"),
    ],
)
def test_flags_that_cannot_be(flags, told, capsys) -> None:
    assert cli.main(["ask-lines", *flags]) == 2
    assert told in capsys.readouterr().err
