"""Answers lines as they come, several at once, until there are no more."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from oncue.ask.line_asker import LineAsker
from oncue.ask.line_questions import read_line_id, read_line_question
from oncue.chat_client import RefusedError, TooLargeError
from oncue.errors import InputError

_READ_BYTES = 65_536
_CANNOT_BE_ASKED = (InputError, RefusedError, TooLargeError)  # of one question, not of all


@dataclass
class Counts:
    """How many lines were answered, and how many were not, so far."""

    num_answered: int = 0
    num_failed: int = 0


async def answer_lines(
    source: BinaryIO,
    asker: LineAsker,
    write: Callable[[dict[str, object]], None],
    num_at_once: int = 8,
) -> Counts:
    """Answer every line of `source` with one call of `write`, as answers come; empty lines are
    passed over.

    At most `num_at_once` questions are asked together, and no line is read before it can be asked.
    A line that is no question, or one that cannot be asked, is answered with its error. Raises what
    no question could get past, such as a server that is lost.
    """
    counts = Counts()
    try:
        await _answer_all(_Lines(source), asker, write, asyncio.Semaphore(num_at_once), counts)
    except* Exception as errors:
        raise _first(errors) from None
    return counts


async def _answer_all(
    lines: _Lines,
    asker: LineAsker,
    write: Callable[[dict[str, object]], None],
    places: asyncio.Semaphore,
    counts: Counts,
) -> None:
    async def one(line: bytes, number: int) -> None:
        try:
            values = await _answered(line, f"line {number}", asker)
            write(values)
            counts.num_failed += "error" in values
            counts.num_answered += "error" not in values
        finally:
            places.release()

    number = 0
    async with asyncio.TaskGroup() as group:
        while True:
            await places.acquire()
            line = await lines.next()
            if line is None:
                break
            number += 1
            if line.strip():
                group.create_task(one(line, number))
            else:
                places.release()


async def _answered(line: bytes, where: str, asker: LineAsker) -> dict[str, object]:
    line_id: str | int | None = None
    try:
        row, line_id = read_line_id(line, where)
        return await asker.ask(read_line_question(row, line_id, where))
    except _CANNOT_BE_ASKED as error:
        return {"id": line_id, "error": " ".join(str(error).split())}


class _Lines:
    """The lines of a file that may wait for its writer, read in a thread that nobody waits for: an
    interrupt ends the process whether a line comes or not."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Semaphore(0)
        self._found: asyncio.Queue[bytes | OSError | None] = asyncio.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self) -> bytes | None:
        """The next line; None at the end. Raises OSError."""
        self._wanted.release()
        found = await self._found.get()
        if isinstance(found, OSError):
            raise found
        return found

    def _read(self) -> None:
        found: bytes | OSError | None
        lines = _split(self._source.fileno())
        while True:
            self._wanted.acquire()
            try:
                found = next(lines, None)
            except OSError as error:
                found = error
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._found.put_nowait, found)
            if not isinstance(found, bytes):
                return


def _split(descriptor: int) -> Iterator[bytes]:
    """The lines of a file. Unbuffered: a thread that sits in a buffer's read at the end of the
    process would break it."""
    held = bytearray()
    while chunk := os.read(descriptor, _READ_BYTES):
        start = len(held)
        held += chunk
        while (end := held.find(b"\n", start)) >= 0:
            yield bytes(held[:end])
            del held[: end + 1]
            start = 0
    if held:
        yield bytes(held)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, which may hold groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
