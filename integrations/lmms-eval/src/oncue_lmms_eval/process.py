"""`oncue ask-lines` in another environment, as long as there are questions for it."""

from __future__ import annotations

import collections
import itertools
import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_KEPT_LINES = 30  # of stderr, for an error


class OncueError(RuntimeError):
    """oncue could not be started, or has ended too early; the text has its last words."""


@dataclass(frozen=True)
class Asked:
    """A question about a video, and its options without letters."""

    video: str
    question: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What oncue answered: the letter of an option or own words. "" with the reason where there is
    none."""

    text: str
    reason: str = ""


class OncueProcess:
    """A running `oncue ask-lines` of the Python at `python`, with `flags`. Use it in a `with`
    statement. Raises OncueError where it does not become ready."""

    def __init__(self, python: str, flags: Sequence[str]) -> None:
        command = [python, "-m", "oncue", "ask-lines", *flags]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise OncueError(
                f"cannot run {python} ({error.strerror}); give oncue_python, the Python of an "
                "environment that has oncue"
            ) from error
        self._said: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._numbers = itertools.count()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.model = str(self._next_row().get("model", ""))

    def ask(self, questions: Sequence[Asked]) -> Iterator[tuple[int, Answer]]:
        """(place in `questions`, answer) of each, as they come. Raises OncueError where oncue ends
        before all are answered."""
        places = {next(self._numbers): place for place in range(len(questions))}
        writer = threading.Thread(target=self._write, args=(list(places), questions), daemon=True)
        writer.start()
        while places:
            row = self._next_row()
            if row.get("id") not in places:
                raise OncueError(f"oncue answered a question that was not asked: {row!r:.200}")
            place = places.pop(row["id"])
            if "error" in row:
                yield place, Answer("", str(row["error"]))
            else:
                yield place, Answer(str(row["answer"]), str(row.get("reason", "")))
        writer.join()

    def close(self) -> None:
        """Ends the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # it has ended already, with lines unread
                    continue
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> OncueProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, numbers: Sequence[int], questions: Sequence[Asked]) -> None:
        """In a thread, so that many questions and answers cannot block each other."""
        assert self._process.stdin is not None
        try:
            for number, asked in zip(numbers, questions, strict=True):
                row: dict[str, Any] = {
                    "id": number,
                    "video": asked.video,
                    "question": asked.question,
                }
                if asked.options:
                    row["options"] = list(asked.options)
                self._process.stdin.write(json.dumps(row) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended; reading its answers says so
            return

    def _next_row(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._listener.join(timeout=5)
            raise OncueError(
                f"oncue ask-lines has ended with exit code {self._process.returncode}: "
                + " ".join("".join(self._said).split())[-1500:]
            )
        try:
            row = json.loads(line)
        except ValueError as error:
            raise OncueError(f"oncue wrote {line!r:.200}; expected a JSON object") from error
        if not isinstance(row, dict):
            raise OncueError(f"oncue wrote {line!r:.200}; expected a JSON object")
        return row

    def _listen(self) -> None:
        """Keeps what it says on stderr, so that it never waits for a reader."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line)
