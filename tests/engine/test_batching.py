"""Laws of many sessions in one engine: each says what it would say alone, whoever joins, leaves,
fails or is killed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import numpy as np
import pytest
import torch

import oncue.engine.kv_cache as cache_module
from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.step_runner import StepRunner
from oncue.model.loading import LoadedModel
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Reply, Silence
from policy_support import hold, say, shown

SHORT = SamplingParams(max_new_tokens=5)
WARM = SamplingParams(temperature=1.2, top_k=10, max_new_tokens=6, seed=3)


def streams(num: int) -> list[list[EnvTurn]]:
    """Streams of different lengths."""
    return [shown(5 + 7 * k % 40, seed=k) for k in range(num)]


async def crowd(engine: Engine, all_turns: list[list[EnvTurn]]) -> list[list[PolicyTurn]]:
    """Sessions that come one after the other, while others are at it, and leave at their end."""

    async def one(k: int, turns: list[EnvTurn]) -> list[PolicyTurn]:
        for _ in range(3 * k):
            await asyncio.sleep(0.001)
        with engine.open(seed=k) as session:
            return await hold(session, turns)

    return list(await asyncio.gather(*(one(k, turns) for k, turns in enumerate(all_turns))))


def mismatched(
    loaded: LoadedModel, sampling: SamplingParams, all_turns: list[list[EnvTurn]]
) -> tuple[int, int]:
    """Tokens that differ from each session alone and undrafted, and how many there are."""
    alone = [
        say(Engine(loaded, sampling, draft=False), turns, k)[0] for k, turns in enumerate(all_turns)
    ]
    together = asyncio.run(crowd(Engine(loaded, sampling), all_turns))
    pairs = [
        (a.token_ids, b.token_ids)
        for x, y in zip(alone, together, strict=True)
        for a, b in zip(x, y, strict=True)
    ]
    return sum(a != b for a, b in pairs), len(pairs)


@pytest.mark.parametrize("sampling", [SHORT, WARM], ids=["greedy", "sampled"])
def test_joins_and_leaves_change_nothing(
    tiny_loaded: LoadedModel, sampling: SamplingParams
) -> None:
    wrong, num_turns = mismatched(tiny_loaded, sampling, streams(8))
    assert num_turns > 150
    assert wrong == 0


def test_a_row_that_saw_too_much_would_be_noticed(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a mask that lets tokens see those that follow them in the same forward."""
    mask = cache_module.Rows._mask

    def open_mask(*args: Any) -> torch.Tensor | None:
        made = mask(*args)
        return None if made is None else torch.zeros_like(made)

    few = streams(4)
    alone = [say(Engine(tiny_loaded, SHORT), turns, k)[0] for k, turns in enumerate(few)]
    monkeypatch.setattr(cache_module.Rows, "_mask", staticmethod(open_mask))
    together = asyncio.run(crowd(Engine(tiny_loaded, SHORT), few))
    assert [[a.token_ids for a in x] for x in alone] != [[a.token_ids for a in x] for x in together]


def test_turns_join_while_others_speak(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long answer does not hold up a session that comes later."""
    engine = Engine(tiny_loaded, SamplingParams(temperature=1.5, max_new_tokens=30, seed=2))
    mixed = []
    advance = StepRunner._advance

    def watched(self: StepRunner, answers: list[Any]) -> Any:
        mixed.append({bool(answer.chosen) for answer in answers})
        return advance(self, answers)

    monkeypatch.setattr(StepRunner, "_advance", watched)
    asyncio.run(crowd(engine, [turns[:5] for turns in streams(4)]))
    assert {True, False} in mixed


def test_sessions_killed_at_random_leave_nothing_and_disturb_nobody(
    tiny_loaded: LoadedModel,
) -> None:
    random = np.random.default_rng(0)
    engine, all_turns = Engine(tiny_loaded, SHORT), [turns[:12] for turns in streams(18)]
    outcomes = {"finished": 0, "cancelled": 0, "closed": 0}
    finished: dict[int, list[tuple[int, ...]]] = {}

    async def one(k: int, fate: str, delay_s: float) -> None:
        await asyncio.sleep(float(random.uniform(0, 0.1)))
        session = engine.open(seed=k)
        task = asyncio.create_task(hold(session, all_turns[k]))
        if fate == "finished":
            finished[k] = [answer.token_ids for answer in await task]
        else:
            await asyncio.sleep(delay_s)
            stop = task.cancel if fate == "cancelled" else session.close
            stop()
            with contextlib.suppress(asyncio.CancelledError, RuntimeError):
                await asyncio.wait_for(task, 20)
        session.close()
        outcomes[fate] += 1

    async def go() -> None:
        fates = [str(random.choice(list(outcomes))) for _ in all_turns]
        delays_s = random.uniform(0, 0.05, len(fates)).tolist()
        await asyncio.gather(
            *(
                one(k, fate, delay)
                for k, (fate, delay) in enumerate(zip(fates, delays_s, strict=True))
            )
        )
        with engine.open(
            seed=0
        ) as session:  # whatever was still in a step is over with the next one
            await session.respond(all_turns[0][0])

    asyncio.run(go())
    assert min(outcomes.values()) > 0
    assert (engine.num_open, engine.num_slots_taken) == (0, 0)
    for k, ids in finished.items():
        assert ids == [a.token_ids for a in say(Engine(tiny_loaded, SHORT), all_turns[k], k)[0]]


@pytest.mark.parametrize("way", ["cancelled", "timed out", "error elsewhere"])
def test_an_event_loop_that_ends_in_the_middle_of_a_step_leaves_no_slot(
    tiny_loaded: LoadedModel, way: str
) -> None:
    engine = Engine(tiny_loaded, SHORT)
    turns = shown(2)

    async def ends() -> None:
        session = engine.open()
        task = asyncio.create_task(session.respond(turns[0]))
        await asyncio.sleep(0.003)
        if way == "error elsewhere":
            raise ZeroDivisionError
        if way == "cancelled":
            task.cancel()
            return
        await asyncio.wait_for(task, 0.001)

    for _ in range(4):
        with contextlib.suppress(TimeoutError, ZeroDivisionError):
            asyncio.run(ends())
    assert (engine.num_open, engine.num_slots_taken) == (0, 0)
    again = [
        [answer.token_ids for answer in say(each, turns)[0]]
        for each in (engine, Engine(tiny_loaded, SHORT))
    ]
    assert again[0] == again[1]  # and it goes on


def test_a_fork_goes_on_as_its_parent_would(tiny_loaded: LoadedModel) -> None:
    turns = shown(12)
    expected, _ = say(Engine(tiny_loaded, WARM), turns, 4)

    async def go() -> None:
        engine = Engine(tiny_loaded, WARM)
        with engine.open() as parent:
            for turn, answer in zip(turns[:8], expected, strict=False):
                parent.replay(
                    turn, answer.action if isinstance(answer.action, Reply | Silence) else Silence()
                )
            await parent.fill()
            await parent.fill()  # nothing is pending any more: no forward
            with (
                parent.fork(seed=4) as one,
                parent.fork(seed=4) as twin,
                parent.fork(seed=5) as other,
            ):
                said = await asyncio.gather(
                    *(hold(session, turns[8:]) for session in (one, twin, other))
                )
            ids = [[a.token_ids for a in answers] for answers in said]
            assert ids[0] == ids[1] != ids[2]
            alone = engine.open(seed=4)
            for turn, answer in zip(turns[:8], expected, strict=False):
                alone.replay(
                    turn, answer.action if isinstance(answer.action, Reply | Silence) else Silence()
                )
            assert [a.token_ids for a in await hold(alone, turns[8:])] == ids[0]

    asyncio.run(go())


def test_frames_shown_to_many_are_encoded_once(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    encode = tiny_loaded.model.model.get_image_features

    def counted(patches: torch.Tensor, grids: torch.Tensor, **layout: Any) -> Any:
        calls.append(len(grids))
        return encode(patches, grids, **layout)

    monkeypatch.setattr(tiny_loaded.model.model, "get_image_features", counted)
    turns = [turn for turn in shown(9) if len(turn.frames) == 1][:6]
    copies = [
        EnvTurn(FrameBatch(t.frames.pixels.copy(), t.frames.pts_s), t.clock_s, "And now?")
        for t in turns
    ]

    async def go(engine: Engine, *all_turns: list[EnvTurn]) -> None:
        sessions = [engine.open() for _ in all_turns]
        await asyncio.gather(
            *(hold(session, t) for session, t in zip(sessions, all_turns, strict=True))
        )

    asyncio.run(go(Engine(tiny_loaded, SHORT), turns, copies, turns))
    assert sum(calls) == len(turns)
    calls.clear()
    asyncio.run(
        go(Engine(tiny_loaded, SHORT), turns, shown(9, seed=8)[:6])
    )  # control: other frames are other work
    assert sum(calls) > len(turns) + 3


def test_lockstep_makes_every_bit_repeatable(tiny_loaded: LoadedModel) -> None:
    """Sessions that come at odd times share the same forwards every time."""

    def run(seed: int) -> tuple[list[int], list[float]]:
        engine, sizes = Engine(tiny_loaded, WARM, lockstep=True), []
        random, advance = np.random.default_rng(seed), engine._steps._advance

        def counted(answers: Any) -> Any:
            sizes.append(len(answers))
            return advance(answers)

        engine._steps._advance = counted  # type: ignore[method-assign]

        async def one(session: Any, turns: list[EnvTurn]) -> list[PolicyTurn]:
            answers = []
            with session:
                for turn in turns:
                    await asyncio.sleep(float(random.uniform(0, 0.004)))
                    answers.append(await session.respond(turn))
            return answers

        async def go() -> list[float]:
            sessions = [engine.open(seed=k) for k in range(4)]
            pairs = zip(sessions, streams(4), strict=True)
            said = await asyncio.gather(*(one(session, turns) for session, turns in pairs))
            return [p for answers in said for answer in answers for p in answer.logprobs]

        return sizes, asyncio.run(go())

    first, second = run(0), run(1)
    assert first == second
    assert max(first[0]) == 4
