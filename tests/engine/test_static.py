"""Laws of forwards of fixed shape: they say what the plain ones say, in any company, and fall back
where none fits.

They run without a graph here: what a graph replays is the same forward.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch

import oncue.engine.static_shapes as static_module
from oncue.engine.engine import Engine, SamplingParams, StaticShapes, Window
from oncue.engine.static_shapes import Shape, StaticForward, StaticRows
from oncue.errors import ConfigError
from oncue.model.cuda_graphs import Graphs
from oncue.model.loading import LoadedModel
from oncue.types import EnvTurn
from policy_support import RecordingEngine, hold, say, shown

SHORT = SamplingParams(max_new_tokens=5)
WARM = SamplingParams(temperature=1.2, top_k=10, max_new_tokens=6, seed=3)
SMALL = StaticShapes(
    num_slots=4, num_slot_tokens=1500, max_rows=4, max_new_tokens=200, new_step=32, seen_step=256
)


@pytest.fixture
def seen_shapes(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """Every shape that ran, in order."""
    ran: list[Shape] = []
    run = StaticForward.run

    def recorded(self: StaticForward, shape: Shape, *args: Any) -> torch.Tensor:
        ran.append(shape)
        return run(self, shape, *args)

    monkeypatch.setattr(StaticForward, "run", recorded)
    return ran


def largest_difference(
    loaded: LoadedModel, turns: list[EnvTurn], **options: Any
) -> tuple[float, bool]:
    """Of the logits of a static session from those of a plain one, and whether they said the
    same."""
    plain, static = (
        RecordingEngine(loaded, SHORT),
        RecordingEngine(loaded, SHORT, shapes=SMALL, **options),
    )
    same = [a.token_ids for a in say(plain, turns)[0]] == [
        a.token_ids for a in say(static, turns)[0]
    ]
    pairs = zip(plain.logits, static.logits, strict=False)
    return max(float((a - b).abs().max()) for a, b in pairs), same


def test_a_session_says_the_same(tiny_loaded: LoadedModel, seen_shapes: list[Shape]) -> None:
    difference, same = largest_difference(tiny_loaded, shown(40))
    assert same
    assert difference < 1e-4
    assert (
        len({shape.num_seen for shape in seen_shapes}) >= 3
    )  # across several roundings of the context
    assert {8, 32} <= {shape.num_new for shape in seen_shapes}  # speaking and being shown


def test_a_mask_that_hides_nothing_would_be_noticed(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: what fills up a shape is seen."""
    init = StaticRows.__init__

    def careless(self: StaticRows, *args: Any) -> None:
        init(self, *args)
        self._mask_N1LK = torch.zeros_like(self._mask_N1LK)

    monkeypatch.setattr(StaticRows, "__init__", careless)
    assert largest_difference(tiny_loaded, shown(10))[0] > 1e-2


def together(engine: Engine, streams: list[list[EnvTurn]]) -> list[list[tuple[int, ...]]]:
    """Token ids of sessions that come one after the other and leave at their end."""

    async def one(k: int, turns: list[EnvTurn]) -> list[tuple[int, ...]]:
        await asyncio.sleep(0.01 * k)
        with engine.open(seed=k) as session:
            return [answer.token_ids for answer in await hold(session, turns)]

    async def everybody() -> list[list[tuple[int, ...]]]:
        return list(await asyncio.gather(*(one(k, turns) for k, turns in enumerate(streams))))

    return asyncio.run(everybody())


@pytest.mark.parametrize("sampling", [SHORT, WARM], ids=["greedy", "sampled"])
def test_more_sessions_than_places_say_what_they_say_alone(
    tiny_loaded: LoadedModel, seen_shapes: list[Shape], sampling: SamplingParams
) -> None:
    streams = [shown(6 + 5 * k % 13, seed=k) for k in range(6)]
    alone = [
        [a.token_ids for a in say(Engine(tiny_loaded, sampling), turns, k)[0]]
        for k, turns in enumerate(streams)
    ]
    engine = Engine(tiny_loaded, sampling, shapes=SMALL)
    assert together(engine, streams) == alone
    assert together(engine, streams[:3]) == alone[:3]  # in places that others have left behind
    assert {1, 4} <= {shape.num_rows for shape in seen_shapes}
    assert engine.num_slots_taken == 0


def test_a_session_that_outgrows_its_place_goes_on(
    tiny_loaded: LoadedModel, seen_shapes: list[Shape]
) -> None:
    turns = shown(70)
    plain, context = say(Engine(tiny_loaded, SHORT), turns)
    assert len(context) > SMALL.num_slot_tokens
    static, same_context = say(Engine(tiny_loaded, SHORT, shapes=SMALL), turns)
    assert [a.token_ids for a in static] == [a.token_ids for a in plain]
    assert context == same_context
    assert len(seen_shapes) < len(turns) + sum(len(a.token_ids) for a in plain)


def test_a_window_and_a_fork_say_the_same(
    tiny_loaded: LoadedModel, seen_shapes: list[Shape]
) -> None:
    turns = shown(40)
    window = Window(600, 300)
    plain = say(Engine(tiny_loaded, SHORT, window=window), turns)
    assert say(Engine(tiny_loaded, SHORT, window=window, shapes=SMALL), turns)[1] == plain[1]

    def forked(engine: Engine) -> tuple[int, ...]:
        async def run() -> tuple[int, ...]:
            with engine.open() as session:
                await hold(session, turns[:8])
                with session.fork() as twin:
                    await hold(twin, turns[8:14])
                    return twin.context_ids

        return asyncio.run(run())

    assert forked(Engine(tiny_loaded, SHORT, shapes=SMALL)) == forked(Engine(tiny_loaded, SHORT))
    assert seen_shapes


def test_what_fits_no_shape_goes_the_plain_way() -> None:
    arena = static_module.Arena(torch.zeros(3, 1, 2, 1, 1500, 4))
    ours, elsewhere = arena.states[0], torch.zeros(1, 2, 1, 1500, 4)
    forward = StaticForward(
        SMALL, arena, 8, torch.float32, lambda *_: torch.zeros(0), Graphs(torch.device("cpu"))
    )
    assert forward.shape([ours], [9], [20]) == Shape(1, 32, 256)
    assert forward.shape([ours] * 3, [9, 900, 9], [1, 4, 8]) == Shape(4, 8, 1024)
    assert forward.shape([ours] * 5, [9] * 5, [20] * 5) is None  # too many rows
    assert forward.shape([ours], [9], [201]) is None  # too many new tokens
    assert forward.shape([ours], [1490], [1]) == Shape(1, 8, 1500)
    assert forward.shape([ours], [1490], [9]) is None  # no room for what is rounded up
    assert forward.shape([ours, elsewhere], [9, 9], [20, 20]) is None


def test_places_are_handed_out_once_and_come_back() -> None:
    arena = static_module.Arena(torch.zeros(3, 1, 2, 1, 16, 4))
    first, second = arena.take(), arena.take()
    assert first is not None
    assert second is not None
    assert (arena.place(first), arena.place(second), arena.take()) == (0, 1, None)
    assert arena.keep(second)
    again = arena.take()
    assert again is not None
    assert arena.place(again) == 1
    assert not arena.keep(torch.zeros(1, 2, 1, 16, 4))


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_rows=0"):
        StaticShapes(max_rows=0)
