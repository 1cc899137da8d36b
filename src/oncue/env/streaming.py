"""The world that pushes frames: the video runs on whatever the policy says (paper section 4.1).

Each turn shows the next `frames_per_turn` frames of a source, and with them the questions that have
come due.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from oncue.clock import Clock
from oncue.errors import ConfigError, InputError, VideoError
from oncue.types import Action, EnvTurn, FrameBatch, FrameSource, Question, StopReason

FILE_LOOKAHEAD = 3  # turns of a file that may be asked about together with the one before them
MAX_BYTES_AHEAD = 64 * 2**20  # of the frames that wait; one turn may always be read ahead
CLOSE_WAIT_S = (
    1.0  # how long `close` lets a read in flight finish before it closes the source under it
)


class _Shown(NamedTuple):
    """What a source gave, and how many grid frames it had dropped by then."""

    batch: FrameBatch
    num_dropped: int


class _ReadyTurn(NamedTuple):
    """A turn, and how many questions have been asked once it is shown."""

    turn: EnvTurn
    num_asked: int


class StreamingEnv:
    """A VideoEnv over one FrameSource. Cheap to make; reads nothing before `open`.

    The clock is the number of frames shown times the source's frame interval, so a turn without
    frames would not move it. Frames that a live source drops (its `num_dropped`) count as if they
    had been shown. A question comes with the first turn whose clock reaches its time; several due
    at once are joined by a newline. The last turn of a video may hold fewer than `frames_per_turn`
    frames.

    Frames are read in a thread of this environment's own (a camera may block for long, and must not
    hold up the event loop or another stream). Up to `turns_ahead` turns are read while the policy
    thinks, and never shown early; more than one is for sources that can be read at any speed. Who
    asks (`announce_to`) gets each as it is there.

    `undelivered` holds the questions not shown yet; non-empty at the end only where the source had
    no known duration or ended before it.

    Raises ConfigError for numbers out of range; InputError for a question that is empty, has no
    valid time, or lies past the end of a source of known duration (its `duration_s`).
    """

    def __init__(
        self,
        source: FrameSource,
        questions: Sequence[Question] = (),
        frames_per_turn: int = 1,
        max_turns: int | None = None,
        *,
        turns_ahead: int = 1,
    ) -> None:
        if frames_per_turn < 1:
            raise ConfigError(f"frames_per_turn must be at least 1, got {frames_per_turn}")
        if max_turns is not None and max_turns < 1:
            raise ConfigError(
                f"max_turns must be at least 1, or None for no limit, got {max_turns}"
            )
        if turns_ahead < 0:
            raise ConfigError(f"turns_ahead must be at least 0, got {turns_ahead}")
        check_questions(questions, getattr(source, "duration_s", None))
        self.clock = Clock(source.frame_interval_s)
        self._questions = tuple(sorted(questions, key=lambda q: q.time_s))
        self._num_asked = 0  # of the questions, in the turns made so far
        self._num_delivered = 0  # and in those shown
        self._source = source
        self._frames_per_turn = frames_per_turn
        self._max_turns = max_turns
        self._turns_ahead = turns_ahead
        self._num_frames = 0  # that the clock has counted: shown, or dropped by the source
        self._num_dropped = 0
        self._num_turns = 0
        self._opened = False
        self._ready: deque[_ReadyTurn] = deque()
        self._reading: asyncio.Future[list[_Shown]] | None = None
        self._ended = False  # the source has; what is ready is still to be shown
        self._error: BaseException | None = None  # to be raised once what is ready has been shown
        self._arrived = asyncio.Event()
        self._listener: Callable[[Sequence[EnvTurn]], None] | None = None
        self._cancelled: asyncio.Event = asyncio.Event()

    @property
    def undelivered(self) -> tuple[Question, ...]:
        """The questions not shown yet, by their time."""
        return self._questions[self._num_delivered :]

    def announce_to(self, listener: Callable[[Sequence[EnvTurn]], None]) -> None:
        """Call `listener` with each turn as it has been read."""
        self._listener = listener

    async def open(self) -> EnvTurn | StopReason:
        """The first turn; SOURCE_ENDED for a source without a single frame."""
        if self._opened:
            raise RuntimeError(
                "the environment is already open; make a new one for another episode"
            )
        self._opened = True
        return await self._next_turn()

    async def step(self, action: Action) -> EnvTurn | StopReason:  # noqa: ARG002 - the video runs on whatever is said
        """The next turn, or why there is none. What the source raises comes out here."""
        if not self._num_turns:
            raise RuntimeError("step before open: await env.open() for the first turn")
        return await self._next_turn()

    def cancel(self) -> None:
        """End the episode: the turn being waited for, or the next one asked for, is
        StopReason.CANCELLED.

        Call it in the event loop's thread (from elsewhere:
        `loop.call_soon_threadsafe(env.cancel)`).
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
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._ended:
                return StopReason.SOURCE_ENDED
            self._read_on(1)
            if not await self._arrives_before_cancel():
                return StopReason.CANCELLED
        self._num_turns += 1
        turn, self._num_delivered = self._ready.popleft()
        self._read_on(self._turns_ahead)
        return turn

    def _read_on(self, num_turns: int) -> None:
        """Read in a thread until that many turns wait to be shown, or their frames take up too much
        room."""
        left = (
            num_turns
            if self._max_turns is None
            else min(num_turns, self._max_turns - self._num_turns)
        )
        num_bytes = sum(ready.turn.frames.pixels.nbytes for ready in self._ready)
        over = self._ended or self._error is not None or self._cancelled.is_set()
        if (
            self._reading is None
            and not over
            and len(self._ready) < left
            and num_bytes <= MAX_BYTES_AHEAD
        ):
            self._reading = _in_thread(self._read_frames)
            self._reading.add_done_callback(self._take)

    def _take(self, reading: asyncio.Future[list[_Shown]]) -> None:
        """Make the turn that was read ready to be shown, tell of it, and read on."""
        self._reading = None
        self._arrived.set()
        self._error = reading.exception()
        if self._error is not None:
            return
        batches = reading.result()
        self._ended = len(batches) < self._frames_per_turn
        if not batches:
            return
        try:
            turn = self._turn_of(batches)
        except Exception as error:  # raised where the turn would have come
            self._error = error
            return
        self._ready.append(_ReadyTurn(turn, self._num_asked))
        if self._listener is not None:
            self._listener([turn])
        self._read_on(self._turns_ahead)

    async def _arrives_before_cancel(self) -> bool:
        """Wait for what is being read, or for a cancellation; False for that."""
        self._arrived.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._arrived, self._cancelled)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._cancelled.is_set()

    def _read_frames(self) -> list[_Shown]:
        """The batches of one turn, fewer at the end of the source. Runs in a thread."""
        batches: list[_Shown] = []
        while len(batches) < self._frames_per_turn:
            batch = self._source.read()
            if batch is None:
                break
            batches.append(_Shown(batch, getattr(self._source, "num_dropped", 0)))
        return batches

    def _turn_of(self, batches: list[_Shown]) -> EnvTurn:
        for batch, num_dropped in batches:
            self._num_frames += len(batch) + num_dropped - self._num_dropped
            self._num_dropped = num_dropped
            self._check_not_early(batch)
        clock_s = self.clock.time_of(self._num_frames)
        waiting = self._questions[self._num_asked :]
        due = [q for q in waiting if self.clock.first_at_or_after(q.time_s) <= self._num_frames]
        self._num_asked += len(due)
        return EnvTurn(
            _join([shown.batch for shown in batches]), clock_s, "\n".join(q.text for q in due)
        )

    def _check_not_early(self, batch: FrameBatch) -> None:
        if len(batch) and self.clock.first_at_or_after(float(batch.pts_s[-1])) > self._num_frames:
            raise VideoError(
                f"the source gave the frame of {batch.pts_s[-1]:.3f} s when the clock read "
                f"{self.clock.time_of(self._num_frames):.3f} s; a source must never show a frame "
                "of the future"
            )


def turns_to_read_ahead(lookahead: int) -> int:
    """How many turns are to be read while that many go ahead of the one shown: those, and what is
    next after them."""
    return 2 * lookahead + 1


def check_text(what: str, text: str) -> None:
    """Raise InputError where `text` has bytes in it that were no UTF-8."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{what} {text!r} is no text; write it in UTF-8")


def check_questions(questions: Sequence[Question], duration_s: float | None) -> None:
    """Raise InputError for the first question that could never be asked of a video of `duration_s`
    (None: unknown)."""
    for question in questions:
        if not question.text.strip():
            raise InputError(f"the question at {question.time_s:g} s is empty; give it some text")
        check_text("the question", question.text)
        if not (math.isfinite(question.time_s) and question.time_s >= 0):
            raise InputError(
                f"question {question.text!r} has time {question.time_s}; expected seconds, 0 or "
                "more"
            )
        if duration_s is not None and question.time_s > duration_s:
            raise InputError(
                f"question {question.text!r} is at {question.time_s:.10g} s, but the video ends at "
                f"{math.floor(duration_s * 1000) / 1000:.10g} s; give it an earlier time"
            )


def _join(batches: list[FrameBatch]) -> FrameBatch:
    if len(batches) == 1:
        return batches[0]
    sizes = {batch.pixels.shape[1:] for batch in batches}
    if len(sizes) > 1:
        raise VideoError(
            f"the frames of one turn have different sizes {sorted(sizes)} (height, width, "
            "channels); "
            "use one frame per turn, or a source that keeps its size"
        )
    return FrameBatch(
        np.concatenate([b.pixels for b in batches]), np.concatenate([b.pts_s for b in batches])
    )


def _in_thread(read: Callable[[], list[_Shown]]) -> asyncio.Future[list[_Shown]]:
    """Run `read` in a daemon thread: unlike a pool's, one that blocks for ever starves nobody and
    holds up no exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[_Shown]] = loop.create_future()

    def settle(batches: list[_Shown], error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(batches)
        else:
            future.set_exception(error)

    def run() -> None:
        batches: list[_Shown] = []
        error: BaseException | None = None
        try:
            batches = read()
        except BaseException as raised:  # handed to whoever awaits the future, and raised there
            error = raised
        # The loop is closed: nobody waits for these frames any more
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, batches, error)

    threading.Thread(target=run, name="oncue-frames", daemon=True).start()
    return future
