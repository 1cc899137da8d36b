"""Laws of rows that are computed once for several sessions: only where nothing differs, and nobody
can tell."""

from __future__ import annotations

import asyncio

import pytest

from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.model_runner import ModelRunner, RowInput
from oncue.engine.session import EngineSession
from oncue.engine.static_shapes import StaticShapes
from oncue.model.loading import LoadedModel
from oncue.types import EnvTurn, PolicyTurn
from policy_support import hold, say, shown

GREEDY = SamplingParams(max_new_tokens=5)
WARM = SamplingParams(temperature=1.2, top_k=10, max_new_tokens=6, seed=3)


@pytest.fixture
def row_counts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of every forward: rows asked for, and rows computed."""
    counts: list[tuple[int, int]] = []
    forward, static, plain = (
        ModelRunner.forward,
        ModelRunner._static_hidden,
        ModelRunner._plain_hidden,
    )

    def counting_forward(self: ModelRunner, rows: list[RowInput]) -> object:
        counts.append((len(rows), 0))
        return forward(self, rows)

    def counting(compute: object) -> object:
        def computed(self: ModelRunner, rows: list[RowInput], frames: object) -> object:
            made = compute(self, rows, frames)  # type: ignore[operator]
            if made is not None:
                counts[-1] = counts[-1][0], len(rows)
            return made

        return computed

    monkeypatch.setattr(ModelRunner, "forward", counting_forward)
    monkeypatch.setattr(ModelRunner, "_static_hidden", counting(static))
    monkeypatch.setattr(ModelRunner, "_plain_hidden", counting(plain))
    return counts


def together(engine: Engine, turns: list[EnvTurn], seeds: list[int]) -> list[list[PolicyTurn]]:
    """Sessions that are shown the same turns at once; each is closed at its end, or the others
    would wait for it."""

    async def one(session: EngineSession) -> list[PolicyTurn]:
        with session:
            return await hold(session, turns)

    async def go() -> list[list[PolicyTurn]]:
        return list(await asyncio.gather(*(one(engine.open(seed=seed)) for seed in seeds)))

    return asyncio.run(go())


def texts(answers: list[PolicyTurn]) -> list[tuple[int, ...]]:
    return [answer.token_ids for answer in answers]


@pytest.mark.parametrize(
    "shapes", [None, StaticShapes(num_slots=6, num_slot_tokens=1024)], ids=["plain", "static"]
)
def test_spectators_of_one_source_cost_one(
    tiny_loaded: LoadedModel, row_counts: list[tuple[int, int]], shapes: StaticShapes | None
) -> None:
    turns = shown(25)
    engine = Engine(tiny_loaded, GREEDY, lockstep=True, shapes=shapes)
    answers = together(engine, turns, [1, 2, 3, 4])
    assert {computed for _, computed in row_counts} == {1}
    assert max(asked for asked, _ in row_counts) == 4
    alone = texts(say(Engine(tiny_loaded, GREEDY), turns)[0])
    assert [texts(each) for each in answers] == [alone] * 4


def test_members_that_draw_other_words_go_their_own_way(
    tiny_loaded: LoadedModel, row_counts: list[tuple[int, int]]
) -> None:
    """Sampled: what each says is what it says alone with its random numbers, whoever shares its
    rows."""
    turns = shown(24)
    answers = together(Engine(tiny_loaded, WARM, lockstep=True), turns, [5, 6, 5])
    shared = [computed for asked, computed in row_counts if asked == 3]
    assert shared[0] == 1  # nobody has said anything yet
    assert set(shared) == {
        1,
        2,
    }  # the two with the same random numbers stay alike, the third does not
    assert shared[-1] == 2
    alone = [texts(say(Engine(tiny_loaded, WARM), turns, seed)[0]) for seed in (5, 6)]
    assert [texts(each) for each in answers] == [alone[0], alone[1], alone[0]]
    assert alone[0] != alone[1]


def test_other_frames_are_never_shared(
    tiny_loaded: LoadedModel, row_counts: list[tuple[int, int]]
) -> None:
    engine = Engine(tiny_loaded, GREEDY, lockstep=True)

    async def one(session: EngineSession, turns: list[EnvTurn]) -> None:
        with session:
            await hold(session, turns)

    async def both() -> None:
        await asyncio.gather(*(one(engine.open(), shown(12, seed=seed)) for seed in (1, 2)))

    asyncio.run(both())
    assert all(asked == computed for asked, computed in row_counts)


def test_sharing_what_has_another_history_would_be_noticed(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: rows taken for the same by their own tokens and frames alone."""
    key = RowInput.key
    monkeypatch.setattr(RowInput, "key", lambda self: key(self)[1:])
    turns = shown(24)
    answers = together(Engine(tiny_loaded, WARM, lockstep=True), turns, [5, 6])
    monkeypatch.undo()
    alone = [texts(say(Engine(tiny_loaded, WARM), turns, seed)[0]) for seed in (5, 6)]
    assert [texts(each) for each in answers] != alone
