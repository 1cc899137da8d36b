"""How fast: a carried session against processing all again, silence with and without a draft,
batches, frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np

from oncue.bench.bench_settings import TURNS, BenchSettings
from oncue.bench.stock import stock_answer
from oncue.bench.turns import Held, give, hold, hold_all, random_frame, video
from oncue.engine.engine import Engine, SamplingParams
from oncue.env.streaming import FILE_LOOKAHEAD
from oncue.model.loading import LoadedModel

HD_PX = (720, 1280)


@dataclass(frozen=True, slots=True)
class CarriedTurns:
    """Milliseconds per turn at each of `TURNS`: with everything processed again, and with the
    session carried on.

    `num_same_answers` of them were answered alike by both, token for token.
    """

    reprefill_ms: dict[int, float]
    incremental_ms: dict[int, float]
    num_same_answers: int
    num_silent: int
    num_timed: int


async def carried_turns(loaded: LoadedModel, settings: BenchSettings, seed: int) -> CarriedTurns:
    """One dialogue, carried on; at each of `TURNS` the same turn is also answered from scratch.

    The turns around these are timed; those between are given as silent history, so that a long
    dialogue is soon there.

    From scratch: all frames are prepared and encoded, the whole prompt goes through the model, the
    answer is decoded token by token (transformers' own `generate`).
    """
    sampling = SamplingParams(max_new_tokens=settings.max_new_tokens)
    before = settings.num_near_turns // 2
    reprefill_ms, incremental_ms = {}, {}
    num_same = num_silent = num_timed = num_held = 0
    shown = list(islice(video(seed), max(TURNS) + settings.num_near_turns))
    with Engine(loaded, sampling) as engine, engine.open() as session:
        for turn in TURNS:
            await give(session, shown[num_held : turn - before - 1])
            head = await hold(session, shown[turn - before - 1 : turn])
            answer = head.answers[-1]
            prompt_ids = session.context_ids[
                : -len(engine.renderer.decision.kept(answer.token_ids)) or None
            ]
            frames = [observed.frames.pixels[0] for observed in shown[:turn]]
            scratch_ms = []
            for _ in range(settings.num_reprefills):
                started_s = time.perf_counter()
                stock = stock_answer(loaded, prompt_ids, frames, settings.max_new_tokens)
                scratch_ms.append(1000 * (time.perf_counter() - started_s))
            num_held = turn + settings.num_near_turns - before - 1
            tail = await hold(session, shown[turn:num_held])
            reprefill_ms[turn] = median(scratch_ms)
            incremental_ms[turn] = median(head.answer_ms + tail.answer_ms)
            num_same += stock == answer.token_ids[: len(answer.token_ids) - answer.forced_close]
            num_silent += head.num_silent + tail.num_silent
            num_timed += len(head.answers) + len(tail.answers)
    return CarriedTurns(reprefill_ms, incremental_ms, num_same, num_silent, num_timed)


@dataclass(frozen=True, slots=True)
class SilentTurns:
    """Median milliseconds per turn, decoded token by token (`plain_ms`), with the silent answer
    drafted, and with `FILE_LOOKAHEAD` turns that are known to come in the same forward
    (`ahead_ms`)."""

    plain_ms: float
    drafted_ms: float
    ahead_ms: float
    num_silent: int
    num_timed: int


async def silent_turns(loaded: LoadedModel, settings: BenchSettings, seed: int) -> SilentTurns:
    """The same turns to three sessions, by turns: a slow moment of the machine hits all alike."""
    sampling = SamplingParams(max_new_tokens=settings.max_new_tokens)
    shown = list(islice(video(seed), settings.num_warm_turns + settings.num_timed_turns))
    plain: list[Held] = []
    drafted: list[Held] = []
    ahead_ms: list[float] = []  # per stretch of turns, of each turn in it
    with (
        Engine(loaded, sampling, draft=False) as slow,
        Engine(loaded, sampling) as fast,
        Engine(loaded, sampling, lookahead=FILE_LOOKAHEAD) as ahead,
        slow.open() as first,
        fast.open() as second,
        ahead.open() as third,
    ):
        third.foresee(shown)
        for start in range(0, len(shown), 1 + FILE_LOOKAHEAD):
            stretch = shown[start : start + 1 + FILE_LOOKAHEAD]
            for turn in stretch:
                plain.append(await hold(first, [turn]))
                drafted.append(await hold(second, [turn]))
            held_ms = (await hold(third, stretch)).answer_ms
            if start >= settings.num_warm_turns:
                ahead_ms.append(sum(held_ms) / len(held_ms))
    plain, drafted = plain[settings.num_warm_turns :], drafted[settings.num_warm_turns :]
    return SilentTurns(
        median(held.answer_ms[0] for held in plain),
        median(held.answer_ms[0] for held in drafted),
        median(ahead_ms),
        sum(held.num_silent for held in drafted),
        len(drafted),
    )


async def decisions_per_s(
    loaded: LoadedModel, counts: Sequence[int], settings: BenchSettings, seed: int
) -> dict[int, float]:
    """Turns answered per second by each of these numbers of sessions at once, each watching a video
    of its own.

    Small numbers are timed several times, spread over the time that all take together, so that a
    slow moment of the machine hits all alike.
    """
    num_times = {count: -(-settings.num_batch_sessions // count) for count in counts}
    spread = sorted(
        ((k + 0.5) / num_times[count], count) for count in counts for k in range(num_times[count])
    )
    num_turns = settings.num_warm_turns + settings.num_rounds
    videos = [list(islice(video(seed + i), num_turns)) for i in range(max(counts))]
    elapsed_s = dict.fromkeys(counts, 0.0)
    for _, count in spread:
        # Knows no frame from before
        with Engine(loaded, SamplingParams(max_new_tokens=settings.max_new_tokens)) as engine:
            sessions = [engine.open() for _ in range(count)]
            await hold_all(sessions, [shown[: settings.num_warm_turns] for shown in videos[:count]])
            started_s = time.perf_counter()
            await hold_all(sessions, [shown[settings.num_warm_turns :] for shown in videos[:count]])
            elapsed_s[count] += time.perf_counter() - started_s
    return {
        count: num_times[count] * count * settings.num_rounds / elapsed_s[count] for count in counts
    }


def preprocess_ms(
    loaded: LoadedModel, size_px: tuple[int, int], settings: BenchSettings, seed: int
) -> float:
    """Median milliseconds from the pixels of one frame (height, width) to the patches the vision
    encoder takes."""
    random = np.random.default_rng(seed)
    took_ms = []
    for _ in range(settings.num_preprocessed):
        frame = random_frame(random, size_px)
        started_s = time.perf_counter()
        loaded.renderer.frame_processor(frame)
        took_ms.append(1000 * (time.perf_counter() - started_s))
    return median(took_ms)
