"""Many sessions that come, are fed, and are cancelled or killed at random: does anything leak,
stick, or say the wrong?

Every session watches one of a few videos, with or without a bounded context, and what it says is
compared with the same video watched alone, turn by turn, up to where it was stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import numpy as np

from oncue.bench.process_memory import resident_bytes
from oncue.bench.turns import video
from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.engine.session import EngineSession
from oncue.model.loading import LoadedModel
from oncue.types import EnvTurn

Fate = Literal["finished", "cancelled", "closed", "dropped"]
FATES: tuple[Fate, ...] = ("finished", "cancelled", "closed", "dropped")
STUCK_S = 60.0  # no turn may take longer, however many wait

_WINDOW_TOKENS = 400
_PAUSE_S = 0.2  # longest wait before the next turn is shown


@dataclass(frozen=True, slots=True)
class SoakSettings:
    """How long, how many sessions at a time, and of what: `num_videos` of at most `num_turns`
    turns."""

    duration_s: float = 600.0
    num_sessions: int = 200
    num_videos: int = 12
    num_turns: int = 40
    max_new_tokens: int = 8


@dataclass(slots=True)
class SoakCounts:
    """What happened: sessions by fate, turns answered, those that differ from the session alone,
    those that failed by no doing of ours, those that were never answered, and what was still held
    after the last session had gone. `num_answers`: how many different ones there were to compare
    with."""

    fates: Counter[Fate] = field(default_factory=Counter)
    num_turns: int = 0
    num_answers: int = 0
    num_wrong: int = 0
    num_failed: int = 0
    num_stuck: int = 0
    num_slots_left: int = 0
    num_sessions_left: int = 0
    rss_growth_pct: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether nothing went wrong, and something could have been seen to."""
        bad = (
            self.num_wrong
            + self.num_failed
            + self.num_stuck
            + self.num_slots_left
            + self.num_sessions_left
        )
        return not bad and self.num_answers > 1


@dataclass(frozen=True, slots=True)
class _Stream:
    """A video, whether it is watched with a bounded context, and what a session alone says about
    it."""

    turns: tuple[EnvTurn, ...]
    window: Window | None
    expected: tuple[tuple[int, ...], ...]


async def soak(loaded: LoadedModel, settings: SoakSettings, seed: int) -> SoakCounts:
    """Run the whole of it in this event loop."""
    counts, random = SoakCounts(), np.random.default_rng(seed)
    sampling = SamplingParams(max_new_tokens=settings.max_new_tokens)
    with Engine(loaded, sampling, draft=False) as alone:
        streams = [
            await _stream(alone, settings, seed + i, bounded=i % 2 == 1)
            for i in range(settings.num_videos)
        ]
    counts.num_answers = len({answer for stream in streams for answer in stream.expected})
    with Engine(loaded, sampling) as engine:
        ends_s = time.monotonic() + settings.duration_s
        memory = asyncio.create_task(_watch_memory(settings.duration_s))
        await asyncio.gather(
            *(
                _visitor(engine, streams, ends_s, counts, random.spawn(1)[0])
                for _ in range(settings.num_sessions)
            )
        )
        counts.rss_growth_pct = await memory
        # What was cancelled in the middle of a step goes with the next one
        with engine.open() as last:
            await last.fill()
        counts.num_slots_left, counts.num_sessions_left = engine.num_slots_taken, engine.num_open
    return counts


async def _stream(alone: Engine, settings: SoakSettings, seed: int, *, bounded: bool) -> _Stream:
    turns = tuple(islice(video(seed), settings.num_turns))
    window = Window(_WINDOW_TOKENS) if bounded else None
    with alone.open(window=window) as session:
        expected = tuple([(await session.respond(turn)).token_ids for turn in turns])
    return _Stream(turns, window, expected)


async def _visitor(
    engine: Engine,
    streams: list[_Stream],
    ends_s: float,
    counts: SoakCounts,
    random: np.random.Generator,
) -> None:
    """One session after the other until the time is up."""
    while time.monotonic() < ends_s:
        stream = streams[int(random.integers(len(streams)))]
        fate = FATES[int(random.integers(len(FATES)))]
        num_turns = int(random.integers(1, len(stream.turns) + 1))
        session = engine.open(window=stream.window)
        for k in range(num_turns):
            await asyncio.sleep(float(random.uniform(0, _PAUSE_S)))
            last = k == num_turns - 1
            await _turn(session, stream, k, fate if last else "finished", counts, random)
        session.close()
        counts.fates[fate] += 1


async def _turn(
    session: EngineSession,
    stream: _Stream,
    k: int,
    fate: Fate,
    counts: SoakCounts,
    random: np.random.Generator,
) -> None:
    """Show turn `k`; unless it is to be finished, stop it somewhere on the way."""
    task = asyncio.create_task(session.respond(stream.turns[k]))
    if fate in ("cancelled", "closed"):
        await asyncio.sleep(float(random.uniform(0, _PAUSE_S)))
        (task.cancel if fate == "cancelled" else session.close)()
    if fate == "dropped":  # the caller is gone: nobody awaits the task any more
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return
    try:
        answer = await asyncio.wait_for(task, STUCK_S)
    except TimeoutError:
        counts.num_stuck += 1
    except (asyncio.CancelledError, RuntimeError):  # torch's errors are RuntimeErrors, too
        counts.num_failed += fate not in ("cancelled", "closed")
    else:
        counts.num_turns += 1
        counts.num_wrong += answer.token_ids != stream.expected[k]


async def _watch_memory(duration_s: float) -> float:
    """How much the highest reading of the last fifth of the time exceeds that of the second fifth,
    in percent."""
    readings = []
    for _ in range(100):
        await asyncio.sleep(duration_s / 100)
        readings.append(resident_bytes())
    before, after = max(readings[20:40]), max(readings[80:])
    return 100 * (after - before) / before
