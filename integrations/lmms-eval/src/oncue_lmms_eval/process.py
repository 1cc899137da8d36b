"""The process in the other environment: `python -m oncue ask-lines`, which answers JSON lines."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

_BAD_USAGE = 2  # its exit code for flags or input that cannot be: a second start would say the same
_LEAVES_WITHIN_S = 10.0


class OncueError(RuntimeError):
    """oncue could not answer; the text says what to do."""


def note(text: str) -> None:
    """Say something to whoever looks at the run."""
    print(f"oncue-lmms-eval: {text}", file=sys.stderr, flush=True)


class OncueProcess:
    """A process of `command`, started with the first question; use it in a `with` statement, or
    close it.

    At most `num_at_once` questions wait for their answers. What it writes to stderr goes to ours.
    Where it ends by itself it is started once more, and the questions that wait are asked again; a
    second end is an OncueError, and so is exit code 2, and no answer within `timeout_s`, the
    loading of the model included.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout_s: float = 1800.0,
        num_at_once: int = 8,
        say: Callable[[str], None] = note,
    ) -> None:
        self._command, self._timeout_s, self._num_at_once = list(command), timeout_s, num_at_once
        self._say = say
        self._process: _Running | None = None
        self._has_restarted = False

    def __enter__(self) -> OncueProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answers(
        self, questions: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The number of each question, from 0, with its answer line, as answers come. A question is
        as of `oncue ask-lines`, without its id. Raises OncueError."""
        waiting: dict[int, Mapping[str, Any]] = {}
        try:
            yield from self._answers(iter(enumerate(questions)), waiting)
        finally:
            if waiting:  # their answers would be taken for those of later questions
                self.close()

    def _answers(
        self,
        coming: Iterator[tuple[int, Mapping[str, Any]]],
        waiting: dict[int, Mapping[str, Any]],
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        is_end = False
        while True:
            while not is_end and len(waiting) < self._num_at_once:
                number, question = next(coming, (-1, {}))
                is_end = number < 0
                if not is_end:
                    waiting[number] = question
                    self._running().send({"id": number, **question})
            if not waiting:
                return
            line = self._next_line(waiting)
            if line is not None:
                answer = _read_answer(line, waiting)
                del waiting[answer["id"]]
                yield answer["id"], answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _running(self) -> _Running:
        if self._process is None:
            self._process = _Running(self._command)
        return self._process

    def _next_line(self, waiting: Mapping[int, Mapping[str, Any]]) -> bytes | None:
        """The next line; None where the process has ended, and has been started once more."""
        try:
            line = self._running().lines.get(timeout=self._timeout_s)
        except queue.Empty:
            self.close()
            raise OncueError(
                f"oncue has given no answer for {self._timeout_s:g} s, so it was ended; raise "
                "timeout_s in --model_args, or lower at_once"
            ) from None
        if line is not None:
            return line
        code = self._running().exit_code()
        self._process = None
        if code == _BAD_USAGE or self._has_restarted:
            again = "once more " if self._has_restarted else ""
            raise OncueError(
                f"oncue has ended {again}with exit code {code}, and {len(waiting)} questions "
                f"without an answer; what it said is above. It was: {' '.join(self._command)}"
            )
        self._has_restarted = True
        self._say(f"oncue has ended with exit code {code}; it is started once more")
        for number, question in waiting.items():
            self._running().send({"id": number, **question})
        return None


class _Running:
    """One started process; threads of their own write to it and read from it, so that nothing can
    block but `lines.get`. None in `lines` is its end."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise OncueError(
                f"cannot start {command[0]} ({error.strerror}); give the Python of the environment "
                "that has oncue: python=/path/to/bin/python"
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self._to_send: queue.Queue[bytes | None] = queue.Queue()
        for work, stream in (
            (self._read, self._process.stdout),
            (self._write, self._process.stdin),
        ):
            threading.Thread(target=work, args=(stream,), daemon=True).start()

    def send(self, question: Mapping[str, Any]) -> None:
        self._to_send.put(json.dumps(question).encode() + b"\n")

    def exit_code(self) -> int:
        """Of a process whose stdout has ended."""
        try:
            return self._process.wait(_LEAVES_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def end(self) -> None:
        """Whatever it is doing: what is not answered yet is not wanted."""
        self._to_send.put(None)
        self._process.terminate()
        self.exit_code()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self.lines.put(line)
        self.lines.put(None)

    def _write(self, stream: IO[bytes]) -> None:
        with suppress(OSError), stream:  # of a process that has ended, which the reader sees
            while (line := self._to_send.get()) is not None:
                stream.write(line)
                stream.flush()


def _read_answer(line: bytes, waiting: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not {"answer", "error"} & set(answer):
        raise OncueError(
            f"expected an answer of oncue as a JSON line, got {line[:200]!r}; use an oncue that "
            "has ask-lines, of the same release as this plug-in"
        )
    if not isinstance(answer.get("id"), int) or answer["id"] not in waiting:
        raise OncueError(f"oncue could not read a question: {answer.get('error', answer)}")
    return answer
