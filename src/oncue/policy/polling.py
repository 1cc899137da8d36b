"""An ordinary model as a policy of streams: at every turn it is asked whether this is the right
moment, and, if it says yes, for the answer.

Each poll is a dialogue of its own, with the newest frames. No model needs to be trained for it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import closing

import numpy as np

from oncue.errors import ConfigError, DataError
from oncue.policy.open_policy import Policy
from oncue.render.actions import FreeText
from oncue.render.markup import DEFAULT_SYSTEM
from oncue.types import (
    Action,
    EnvTurn,
    FrameBatch,
    PolicySession,
    PolicyTurn,
    Reply,
    Silence,
    Task,
)

Ask = Callable[[EnvTurn], Awaitable[Action]]  # a dialogue of one turn


def asking(policy: Policy[PolicySession], task: Task, system: str | None, seed: int) -> Ask:
    """Asks `policy` in a dialogue of one turn each time."""

    async def ask(turn: EnvTurn) -> Action:
        shown = DEFAULT_SYSTEM if system is None else system
        session = policy.open(task, system=shown, seed=seed, action_format=FreeText())
        with closing(session):
            return (await session.respond(turn)).action

    return ask


class _Frames:
    """The newest `most` frames."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ConfigError(f"a poll needs at least 1 frame, got {most}")
        self._kept: deque[tuple[np.ndarray, float]] = deque(maxlen=most)

    def add(self, turn: EnvTurn) -> None:
        for batch in turn.batches:
            self._kept.extend(zip(batch.pixels, batch.pts_s.tolist(), strict=True))

    def turn(self, text: str, clock_s: float) -> EnvTurn:
        """A turn that shows them, then `text`."""
        if not self._kept:
            return EnvTurn(FrameBatch.empty(), clock_s, text)
        pixels, pts_s = zip(*self._kept, strict=True)
        return EnvTurn(FrameBatch(np.stack(pixels), np.array(pts_s)), clock_s, text)


class PollingSession:
    """Asks at every turn from the first question on whether something is to be said, and then what,
    with the newest `num_frames` frames and all that was asked and replied so far."""

    def __init__(self, ask: Ask, num_frames: int) -> None:
        self._ask, self._frames = ask, _Frames(num_frames)
        self._asked: list[str] = []
        self._replied: list[str] = []

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        self._frames.add(observed)
        if observed.text:
            self._asked.append(observed.text)
        if not self._asked:
            return PolicyTurn(Silence())
        if not _begins_with_yes(await self._answer(observed.clock_s, _WHETHER)):
            return PolicyTurn(Silence())
        action = await self._answer(observed.clock_s, _WHAT)
        if isinstance(action, Reply):
            self._replied.append(action.text.strip())
        return PolicyTurn(action)

    async def _answer(self, clock_s: float, wanted: str) -> Action:
        said = "".join(f"You said before: {text}\n" for text in self._replied)
        text = f"{_SHOWN.format(clock_s)}\n" + "\n".join(self._asked) + f"\n{said}{wanted}"
        return await self._ask(self._frames.turn(text, clock_s))

    def close(self) -> None:
        """Nothing is held: each poll closes its own dialogue."""


_SHOWN = "These are the newest frames of a video that is still running, {:g} s in. A viewer asked:"
_WHETHER = (
    "Is this the right moment to speak: do the newest frames show something that the viewer asked "
    "for and that was not said before? Answer yes or no."
)
_WHAT = "Say in one short sentence what the newest frames show that the viewer asked for."


class LeakingPollingSession:
    """The protocol that StreamingBench polls by: it is asked at every turn after the question
    whether now is the moment for the gold output, which leaks it; the first yes is answered, and
    nothing after it.

    The clip begins with the question. A poll counts as yes where "yes" occurs in it.
    """

    def __init__(self, ask: Ask, num_frames: int, task: Task) -> None:
        """Raises DataError for a task without gold, or without a question."""
        if not task.gold or not task.questions:
            raise DataError(
                f"{task.task_id!r} has no gold output that a poll could name; use --policy polling"
            )
        self._ask, self._num_frames, self._gold = ask, num_frames, task.gold[0].content
        self._asked_s = task.questions[0].time_s
        self._frames = _Frames(num_frames)
        self._question = ""
        self._done = False

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        if observed.text and not self._question:
            self._question, self._frames = observed.text, _Frames(self._num_frames)
        self._frames.add(observed)
        if self._done or not self._question or observed.clock_s <= self._asked_s:
            return PolicyTurn(Silence())
        poll = f'{self._question}\nIs now the right moment to output "{self._gold}"? {_YES_OR_NO}'
        polled = await self._ask(self._frames.turn(poll, observed.clock_s))
        if not (isinstance(polled, Reply) and "yes" in polled.text.lower()):
            return PolicyTurn(Silence())
        self._done = True
        return PolicyTurn(await self._ask(self._frames.turn(self._question, observed.clock_s)))

    def close(self) -> None:
        """Nothing is held: each poll closes its own dialogue."""


_YES_OR_NO = "Answer yes or no."


def _begins_with_yes(action: Action) -> bool:
    return isinstance(action, Reply) and re.match(r"\W*yes\b", action.text, re.I) is not None
