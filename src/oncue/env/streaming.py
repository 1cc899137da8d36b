"""The world that pushes frames: the video runs on whatever the policy says (paper section 4.1).

Each turn shows the next `frames_per_turn` frames of a source, and with them the questions that have come due.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from oncue.clock import Clock
from oncue.errors import ConfigError, InputError, VideoError
from oncue.types import Action, EnvTurn, FrameBatch, FrameSource, Question, StopReason

FILE_LOOKAHEAD = 3  # turns of a file that are read, and may be asked about, together with the one to be shown
CLOSE_WAIT_S = 1.0  # how long `close` lets a read in flight finish before it closes the source under it


@dataclass(frozen=True, slots=True)
class _Read:
    """The frames of turns that were read together, and the error that came instead of the next one."""

    turns: list[list[FrameBatch]]
    error: Exception | None = None


class _ReadyTurn(NamedTuple):
    """A turn, and how many questions have been asked once it is shown."""

    turn: EnvTurn
    num_asked: int


class StreamingEnv:
    """A VideoEnv over one FrameSource. Cheap to make; reads nothing before `open`.

    The clock is the number of frames shown times the source's frame interval, so a turn without frames would not move
    it. A question comes with the first turn whose clock reaches its time; several due at once are joined by a newline.
    The last turn of a video may hold fewer than `frames_per_turn` frames.

    Frames are read in a thread of this environment's own (a camera may block for long, and must not hold up the event
    loop or another stream), `turns_per_read` turns at a time; more than one is for sources that can be read at any
    speed. With `read_ahead` the next ones are decoded while the policy thinks about these. None is shown early; who
    asks (`announce_to`) is told of turns that were read together.

    `undelivered` holds the questions not shown yet; non-empty at the end only where the source had no known duration
    or ended before it.

    Raises ConfigError for numbers out of range; InputError for a question that is empty, has no valid time, or lies
    past the end of a source of known duration (its `duration_s`).
    """

    def __init__(
        self,
        source: FrameSource,
        questions: Sequence[Question] = (),
        frames_per_turn: int = 1,
        max_turns: int | None = None,
        *,
        read_ahead: bool = True,
        turns_per_read: int = 1,
    ) -> None:
        if frames_per_turn < 1:
            raise ConfigError(f"frames_per_turn must be at least 1, got {frames_per_turn}")
        if max_turns is not None and max_turns < 1:
            raise ConfigError(f"max_turns must be at least 1, or None for no limit, got {max_turns}")
        if turns_per_read < 1:
            raise ConfigError(f"turns_per_read must be at least 1, got {turns_per_read}")
        check_questions(questions, getattr(source, "duration_s", None))
        self.clock = Clock(source.frame_interval_s)
        self._questions = tuple(sorted(questions, key=lambda q: q.time_s))
        self._num_asked = 0  # of the questions, in the turns made so far
        self._num_delivered = 0  # and in those shown
        self._source = source
        self._frames_per_turn = frames_per_turn
        self._max_turns = max_turns
        self._read_ahead = read_ahead
        self._turns_per_read = turns_per_read
        self._num_frames = 0
        self._num_turns = 0
        self._ready: deque[_ReadyTurn] = deque()
        self._reading: asyncio.Future[_Read] | None = None
        self._error: Exception | None = None  # to be raised once what is ready has been shown
        self._listener: Callable[[Sequence[EnvTurn]], None] | None = None
        self._cancelled: asyncio.Event = asyncio.Event()

    @property
    def undelivered(self) -> tuple[Question, ...]:
        """The questions not shown yet, by their time."""
        return self._questions[self._num_delivered :]

    def announce_to(self, listener: Callable[[Sequence[EnvTurn]], None]) -> None:
        """Call `listener` with turns that were read together, before the first of them is shown."""
        self._listener = listener

    async def open(self) -> EnvTurn | StopReason:
        """The first turn; SOURCE_ENDED for a source without a single frame."""
        if self._num_turns or self._reading is not None:
            raise RuntimeError("the environment is already open; make a new one for another episode")
        return await self._next_turn()

    async def step(self, action: Action) -> EnvTurn | StopReason:  # noqa: ARG002 - the video runs on whatever is said
        """The next turn, or why there is none. What the source raises comes out here."""
        if not self._num_turns:
            raise RuntimeError("step before open: await env.open() for the first turn")
        return await self._next_turn()

    def cancel(self) -> None:
        """End the episode: the turn being waited for, or the next one asked for, is StopReason.CANCELLED.

        Call it in the event loop's thread (from elsewhere: `loop.call_soon_threadsafe(env.cancel)`).
        """
        self._cancelled.set()

    async def close(self) -> None:
        """Cancel, and close the source. Lets a read in flight finish first, for a moment."""
        self.cancel()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=CLOSE_WAIT_S)
        self._source.close()

    async def _next_turn(self) -> EnvTurn | StopReason:
        if self._cancelled.is_set():
            return StopReason.CANCELLED
        if self._num_turns == self._max_turns:
            return StopReason.MAX_TURNS
        if not self._ready:
            if self._error is not None:
                raise self._error
            if self._reading is None:
                self._reading = self._start_reading()
            if not self._reading.done() and not await self._finishes_before_cancel(self._reading):
                return StopReason.CANCELLED
            read = self._reading.result()
            if not read.turns:
                return StopReason.SOURCE_ENDED  # the finished read stays: asked again, the answer is the same
            self._take(read)
        self._num_turns += 1
        turn, self._num_delivered = self._ready.popleft()
        return turn

    def _take(self, read: _Read) -> None:
        """Make what was read ready to be shown, tell of it, and start to read what comes after it."""
        self._error = read.error
        for batches in read.turns:
            try:
                self._ready.append(_ReadyTurn(self._turn_of(batches), self._num_asked))
            except VideoError as error:
                if not self._ready:
                    raise
                self._error = error
                break
        if self._listener is not None and self._turns_per_read > 1:
            self._listener([ready.turn for ready in self._ready])
        may_go_on = self._error is None and len(read.turns[-1]) == self._frames_per_turn and self._num_left() != 0
        self._reading = self._start_reading() if self._read_ahead and may_go_on else None

    def _num_left(self) -> int | None:
        """How many turns may still be read; None for any number."""
        return None if self._max_turns is None else self._max_turns - self._num_turns - len(self._ready)

    def _start_reading(self) -> asyncio.Future[_Read]:
        left = self._num_left()
        most = self._turns_per_read if left is None else min(left, self._turns_per_read)
        return _in_thread(partial(self._read_turns, most))

    async def _finishes_before_cancel(self, reading: asyncio.Future[_Read]) -> bool:
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {reading, cancelled}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
        return not self._cancelled.is_set()

    def _read_turns(self, most: int) -> _Read:
        """The next turns, fewer where the source ends. Runs in a thread."""
        turns: list[list[FrameBatch]] = []
        while len(turns) < most:
            try:
                batches = self._read_frames()
            except Exception as error:  # raised where the turn would have come
                if not turns:
                    raise
                return _Read(turns, error)
            if batches:
                turns.append(batches)
            if len(batches) < self._frames_per_turn:
                break
        return _Read(turns)

    def _read_frames(self) -> list[FrameBatch]:
        """The batches of one turn, fewer at the end of the source."""
        batches: list[FrameBatch] = []
        while len(batches) < self._frames_per_turn:
            batch = self._source.read()
            if batch is None:
                break
            batches.append(batch)
        return batches

    def _turn_of(self, batches: list[FrameBatch]) -> EnvTurn:
        for batch in batches:
            self._num_frames += len(batch)
            self._check_not_early(batch)
        clock_s = self.clock.time_of(self._num_frames)
        waiting = self._questions[self._num_asked :]
        due = [q for q in waiting if self.clock.first_at_or_after(q.time_s) <= self._num_frames]
        self._num_asked += len(due)
        return EnvTurn(_join(batches), clock_s, "\n".join(q.text for q in due))

    def _check_not_early(self, batch: FrameBatch) -> None:
        if len(batch) and self.clock.first_at_or_after(float(batch.pts_s[-1])) > self._num_frames:
            raise VideoError(
                f"the source gave the frame of {batch.pts_s[-1]:.3f} s when the clock read "
                f"{self.clock.time_of(self._num_frames):.3f} s; a source must never show a frame of the future"
            )


def check_text(what: str, text: str) -> None:
    """Raise InputError where `text` has bytes in it that were no UTF-8."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{what} {text!r} is no text; write it in UTF-8")


def check_questions(questions: Sequence[Question], duration_s: float | None) -> None:
    """Raise InputError for the first question that could never be asked of a video of `duration_s` (None: unknown)."""
    for question in questions:
        if not question.text.strip():
            raise InputError(f"the question at {question.time_s:g} s is empty; give it some text")
        check_text("the question", question.text)
        if not (math.isfinite(question.time_s) and question.time_s >= 0):
            raise InputError(f"question {question.text!r} has time {question.time_s}; expected seconds, 0 or more")
        if duration_s is not None and question.time_s > duration_s:
            raise InputError(
                f"question {question.text!r} is at {question.time_s:g} s, but the video ends at {duration_s:g} s; "
                "give it an earlier time"
            )


def _join(batches: list[FrameBatch]) -> FrameBatch:
    if len(batches) == 1:
        return batches[0]
    sizes = {batch.pixels.shape[1:] for batch in batches}
    if len(sizes) > 1:
        raise VideoError(
            f"the frames of one turn have different sizes {sorted(sizes)} (height, width, channels); "
            "use one frame per turn, or a source that keeps its size"
        )
    return FrameBatch(np.concatenate([b.pixels for b in batches]), np.concatenate([b.pts_s for b in batches]))


def _in_thread(read: Callable[[], _Read]) -> asyncio.Future[_Read]:
    """Run `read` in a daemon thread: unlike a pool's, one that blocks for ever starves nobody and holds up no exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Read] = loop.create_future()

    def settle(done: _Read | None, error: BaseException | None) -> None:
        if future.done():
            return
        if done is not None:
            future.set_result(done)
        elif error is not None:
            future.set_exception(error)

    def run() -> None:
        done: _Read | None = None
        error: BaseException | None = None
        try:
            done = read()
        except BaseException as raised:  # handed to whoever awaits the future, and raised there
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for these frames any more
            loop.call_soon_threadsafe(settle, done, error)

    threading.Thread(target=run, name="oncue-frames", daemon=True).start()
    return future
