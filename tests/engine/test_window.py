"""Laws of bounded context: a session answers as a fresh one shown the kept turns would, and nothing
grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.engine.session import EngineSession
from oncue.engine.window import PastTurn
from oncue.errors import ConfigError, ContextFullError
from oncue.model.loading import LoadedModel, load_model
from oncue.render.decision import DecisionName, Lead
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.types import EnvTurn, FrameBatch, Reply, Silence
from policy_support import RecordingEngine, ScriptedEngine, say
from tiny_model import build_tiny_model, mixed_turn, random_turn

SHORT = SamplingParams(max_new_tokens=4)
Said = tuple[int, ...]


def stream(num_turns: int, questions: dict[int, str], seed: int = 0) -> list[EnvTurn]:
    random = np.random.default_rng(seed)
    return [random_turn(random, k + 1.0, 1, questions.get(k, "")) for k in range(num_turns)]


def past(session: EngineSession) -> list[PastTurn]:
    assert session._state is not None
    return session._state.turns


@pytest.mark.parametrize(
    ("keep", "make"), [(None, random_turn), (150, random_turn), (150, mixed_turn)]
)
def test_a_bounded_session_answers_like_a_fresh_one_shown_the_kept_turns(
    tiny_loaded: LoadedModel, keep: int | None, make: Callable[..., EnvTurn]
) -> None:
    """The law of positions: at every turn, also right after a cut, in the middle of the stretch and
    before the next."""
    engine = RecordingEngine(
        tiny_loaded, SHORT, window=Window(500, keep, max_questions=2, max_replies=2)
    )
    questions = {0: "Tell me whenever something moves.", 9: "And now?", 21: "What else?"}
    random = np.random.default_rng(0)
    turns = [
        make(random, k + 1.0, text=questions.get(k, ""))
        for k in range(60 if make is random_turn else 24)
    ]

    async def go() -> tuple[float, int]:
        worst, num_cuts = 0.0, 0
        with engine.open() as session:
            kept_turns: list[EnvTurn] = []
            for turn in turns:
                before = session.num_context_tokens
                session_before = list(past(session))
                engine.logits.clear()
                answer = await session.respond(turn)
                ours = torch.stack(engine.logits)
                num_cuts += session.num_context_tokens < before
                survivors = {id(t) for t in past(session)}
                kept_turns = [
                    t for t, p in zip(kept_turns, session_before, strict=True) if id(p) in survivors
                ]
                fresh_engine = RecordingEngine(tiny_loaded, SHORT)
                with fresh_engine.open() as fresh:
                    for t, p in zip(kept_turns, past(session)[:-1], strict=True):
                        replay(fresh, t, p)
                    repeated = await fresh.respond(turn)
                    assert fresh.context_ids == session.context_ids
                assert repeated.token_ids == answer.token_ids
                worst = max(worst, float((torch.stack(fresh_engine.logits) - ours).abs().max()))
                kept_turns.append(turn)
        return worst, num_cuts

    worst, num_cuts = asyncio.run(go())
    assert num_cuts >= 3
    assert worst <= 1e-4


def replay(session: EngineSession, turn: EnvTurn, past_turn: PastTurn) -> None:
    """Append a turn with the very ids that answered it, which need not be those of a written
    answer."""
    state, decision = session._open_state(), session._engine.renderer.decision
    session.replay(turn, Silence())
    for ids in (state.context_ids, state.pending_ids):
        del ids[len(ids) - len(decision.kept(session._engine.renderer.silence_ids)) :]
        ids += decision.kept(past_turn.chosen)
    state.lead = decision.lead_after(past_turn.chosen)


def test_what_is_kept(tiny_loaded: LoadedModel) -> None:
    renderer = tiny_loaded.renderer
    one_turn = len(renderer.user_turn(stream(1, {})[0], Lead.CLOSED)) + len(renderer.silence_ids)
    system = len(renderer.system_block(PROACTIVE_SYSTEM))
    bounds = Window(system + 30 * one_turn, system + 12 * one_turn, max_questions=2, max_replies=2)
    engine = Engine(tiny_loaded, SHORT, window=bounds)
    questions = {0: "First?", 3: "Second?", 6: "Third?"}
    turns = stream(60, questions)

    async def go() -> None:
        with engine.open() as session:
            for k, turn in enumerate(turns[:-1]):
                session.replay(turn, Reply(f"reply {k}") if k in (2, 8, 11) else Silence())
            await session.respond(turns[-1])
            kept = past(session)
            assert [t.text for t in kept if t.text] == ["Second?", "Third?"]
            replies = [
                renderer.read_action(t.chosen, truncated=False) for t in kept[:-1] if t.replied
            ]
            assert replies == [Reply("reply 8"), Reply("reply 11")]
            newest = [t.frames[0].grid for t in kept[-4:-1]]
            assert len(newest) == 3
            assert session.num_context_tokens <= system + 14 * one_turn

    asyncio.run(go())


def survivors(
    loaded: LoadedModel, window: Window, turns: list[EnvTurn], replied: tuple[int, ...] = ()
) -> list[int]:
    """Which of `turns` are in the prefix once the last one was answered, in its order. Those
    `replied` to spoke."""
    with (
        Engine(loaded, SamplingParams(max_new_tokens=1), window=window) as engine,
        engine.open() as session,
    ):
        for k, turn in enumerate(turns[:-1]):
            session.replay(turn, Reply("It moves.") if k in replied else Silence())
        before = list(past(session))
        assert len(before) == len(turns) - 1
        asyncio.run(session.respond(turns[-1]))
        number = {id(turn): k for k, turn in enumerate(before)}
        return [number[id(turn)] for turn in past(session)[:-1]]


@pytest.mark.parametrize("asked", [0, 1])
def test_what_stays_at_the_beginning_stays_in_the_cache(
    tiny_loaded: LoadedModel, asked: int
) -> None:
    """The first turn where it brings the question. What comes after a gap is pending."""
    renderer, turns = tiny_loaded.renderer, stream(31, {asked: "Tell me whenever something moves."})
    with Engine(tiny_loaded, SHORT, window=Window(400)) as engine, engine.open() as session:
        for turn in turns[:-1]:
            session.replay(turn, Silence())
        asyncio.run(session.fill())
        state, first = session._open_state(), past(session)[0].ids(renderer, Lead.START)
        grids = [frame.grid for frame in renderer.user_turn(turns[-1], state.lead).frames]
        state.cut(turns[-1], grids, renderer)
        num_cached = len(renderer.system_block(PROACTIVE_SYSTEM)) + (0 if asked else len(first))
        assert (state.num_cached, state.context_ids[num_cached:]) == (num_cached, state.pending_ids)


@pytest.mark.parametrize("num_missing", [0, 1])
def test_a_cut_keeps_half_of_the_window_unless_told_otherwise(
    tiny_loaded: LoadedModel, num_missing: int
) -> None:
    renderer, turns = tiny_loaded.renderer, stream(40, {})
    one_turn = len(renderer.user_turn(turns[1], Lead.CLOSED)) + len(renderer.silence_ids)
    keep = len(renderer.system_block(PROACTIVE_SYSTEM)) + 6 * one_turn - num_missing
    newest = list(range(33, 39))[num_missing:]  # six of them fit exactly
    assert survivors(tiny_loaded, Window(2 * keep), turns) == newest
    assert survivors(tiny_loaded, Window(2 * keep + 1), turns) == newest  # rounded down
    assert survivors(tiny_loaded, Window(2 * keep + 60, keep), turns) == newest
    assert Window(1).target_tokens == 1


@pytest.mark.parametrize("num_missing", [0, 1])
def test_room_is_left_for_the_turn_that_comes(tiny_loaded: LoadedModel, num_missing: int) -> None:
    """To the token: a turn that needs most of the window leaves room for three."""
    renderer, turns = (
        tiny_loaded.renderer,
        [*stream(9, {}), random_turn(np.random.default_rng(1), 10.0, 30)],
    )
    one_turn = len(renderer.user_turn(turns[1], Lead.CLOSED)) + len(renderer.silence_ids)
    system, last = (
        renderer.system_block(PROACTIVE_SYSTEM),
        renderer.user_turn(turns[-1], Lead.CLOSED),
    )
    max_tokens = len(system) + 3 * one_turn + len(last) - num_missing
    assert (
        survivors(tiny_loaded, Window(max_tokens, max_tokens - 1), turns) == [6, 7, 8][num_missing:]
    )


def test_what_is_kept_stays_in_order_and_within_its_bounds(tiny_loaded: LoadedModel) -> None:
    renderer = tiny_loaded.renderer
    turns = stream(60, dict.fromkeys((30, 3, 33, 35, 40, 1), "Now?"))
    replied = (4, *range(10, 20))
    longest = len(renderer.user_turn(turns[40], Lead.CLOSED)) + len(
        renderer.policy_turn_ids(Reply("It moves."))
    )

    def kept(num_turns: int, **bounds: int) -> list[int]:
        """With room for at least that many."""
        keep = len(renderer.system_block(PROACTIVE_SYSTEM)) + num_turns * longest
        return survivors(tiny_loaded, Window(keep + 100, keep, **bounds), turns, replied)

    def newest(found: list[int]) -> list[int]:
        return list(range(59 - len(found), 59))

    found = kept(17)
    assert found[:12] == [
        *range(12, 20),
        30,
        33,
        35,
        40,
    ]  # the newest eight replies and four questions
    assert found[12:] == newest(found[12:])
    few = kept(7, max_questions=1, max_replies=2)
    assert few[:3] == [18, 19, 40]
    assert few[3:] == newest(few[3:])
    no_replies = kept(7, max_questions=2, max_replies=0)
    assert no_replies[:2] == [35, 40]
    assert no_replies[2:] == newest(no_replies[2:])
    assert min(map(len, (found[12:], few[3:], no_replies[2:]))) >= 4
    assert kept(0, max_questions=2, max_replies=2) == [40]  # the newest question, whatever the room


@pytest.mark.parametrize("keep", [None, 1, 299])
@pytest.mark.parametrize("num_frames", [1, 4])
def test_the_newest_question_is_never_dropped(
    tiny_loaded: LoadedModel, keep: int | None, num_frames: int
) -> None:
    """Also where it takes more than a cut leaves, and where the coming turn takes more than half of
    the window."""
    random, questions = (
        np.random.default_rng(0),
        {0: "Tell me whenever something moves.", 7: "And now?"},
    )
    turns = [
        random_turn(random, k + 1.0, num_frames if k in questions else 1, questions.get(k, ""))
        for k in range(30)
    ]
    turns.append(random_turn(random, 31.0, 2))
    engine = Engine(tiny_loaded, SamplingParams(max_new_tokens=1), window=Window(321, keep))

    async def go() -> None:
        with engine.open() as session:
            for k, turn in enumerate(turns):
                await session.respond(turn)
                assert questions[7 if k >= 7 else 0] in [t.text for t in past(session)]
            assert len(past(session)) < 8  # most have been dropped

    asyncio.run(go())


@pytest.mark.parametrize("num_missing", [0, 1])
def test_a_question_that_cannot_stay_is_an_error(
    tiny_loaded: LoadedModel, num_missing: int
) -> None:
    renderer, turns = tiny_loaded.renderer, stream(9, {0: "Tell me whenever something moves."})
    parts = [
        renderer.user_turn(turns[0], Lead.START),
        renderer.silence_ids,
        renderer.user_turn(turns[-1], Lead.CLOSED),
    ]
    num_needed = len(renderer.system_block(PROACTIVE_SYSTEM)) + sum(map(len, parts))
    with (
        Engine(tiny_loaded, SHORT, window=Window(num_needed - num_missing)) as engine,
        engine.open() as session,
    ):
        for turn in turns[:-1]:
            session.replay(turn, Silence())
        if num_missing:
            with pytest.raises(
                ContextFullError, match=rf"needs {num_needed} tokens .* newest question"
            ):
                asyncio.run(session.respond(turns[-1]))
        else:
            asyncio.run(session.respond(turns[-1]))
            assert [bool(t.text) for t in past(session)] == [True, False]


def test_nothing_grows_on_an_endless_stream(tiny_loaded: LoadedModel) -> None:
    window = Window(400, max_replies=2)
    engine, sizes = Engine(tiny_loaded, SHORT, window=window), []
    pixels = stream(1, {})[0].frames.pixels

    async def go() -> None:
        with engine.open() as session:
            for k in range(160):
                pixels_k = (pixels.astype(np.int16) + k % 50).clip(0, 255).astype(np.uint8)
                await session.respond(
                    EnvTurn(FrameBatch(pixels_k, np.array([k + 1.0])), k + 1.0, "Go." * (k == 0))
                )
                assert session.num_context_tokens <= window.max_tokens + SHORT.max_new_tokens + 1
                state = session._state
                assert state is not None
                assert state.next_position <= window.max_tokens
                sizes.append((session.num_context_bytes, len(state.turns)))

    asyncio.run(go())
    assert {size for size, _ in sizes[80:]} == {sizes[80][0]}
    assert max(num for _, num in sizes) < 40
    assert engine._pool.num_free_bytes <= 2 * sizes[-1][0]


def test_a_window_that_is_too_small_says_so(tiny_loaded: LoadedModel) -> None:
    engine = Engine(tiny_loaded, SHORT, window=Window(60))
    with engine.open() as session, pytest.raises(ContextFullError, match="60"):
        asyncio.run(session.respond(stream(1, {})[0]))
    for bad in ({"keep_tokens": 10}, {"keep_tokens": 0}, {"max_questions": 0}, {"max_replies": -1}):
        with pytest.raises(ConfigError):
            Window(10, **bad)
    with pytest.raises(ConfigError):
        Window(0)
    assert Window(10, 9, max_questions=1, max_replies=0).target_tokens == 9


@pytest.mark.parametrize("decision_name", ["text", "token"])
def test_a_window_keeps_a_stream_within_the_positions_of_the_model(
    tmp_path: Path, decision_name: DecisionName
) -> None:
    folder = build_tiny_model(tmp_path, max_position_embeddings=270)
    loaded = load_model(folder, device="cpu", decision_name=decision_name)
    largest = loaded.max_prefix_tokens
    texts = [
        EnvTurn(FrameBatch.empty(), k + 1.0, "?" * (k % 3 + 1)) for k in range(40)
    ]  # a position for every token
    with Engine(loaded, SHORT, window=Window(largest)) as engine:
        _, context_ids = say(engine, texts)
        assert len(context_ids) <= 270
        with pytest.raises(ConfigError, match=f"at most {largest} "):
            engine.open(window=Window(largest + 1))
        assert (engine.num_open, engine.num_slots_taken) == (0, 0)
    with pytest.raises(ConfigError, match=f"at most {largest} "):
        Engine(loaded, SHORT, window=Window(largest + 1))
    told = "--context-tokens of watch and eval, or a Window"
    with Engine(loaded, SHORT) as unbounded, pytest.raises(ContextFullError, match=told):
        say(unbounded, texts)  # control


def test_a_turn_that_does_not_fit_drops_nothing(tiny_loaded: LoadedModel) -> None:
    engine = Engine(tiny_loaded, SHORT, window=Window(300))
    small, large = (
        stream(3, {0: "Tell me whenever something moves."}),
        random_turn(np.random.default_rng(1), 9.0, 30),
    )

    async def go() -> None:
        with engine.open() as session:
            for turn in small[:2]:
                await session.respond(turn)
            before = (session.context_ids, list(past(session)), session.num_context_bytes)
            with pytest.raises(ContextFullError, match=r"at 9 s .* 300"):
                await session.respond(large)
            assert (session.context_ids, past(session), session.num_context_bytes) == before
            await session.respond(small[2])
            assert session.context_ids[: len(before[0])] == before[0]

    asyncio.run(go())


TALK = {0: "Tell me whenever something moves.", 4: "And now?"}


@pytest.mark.parametrize(
    ("fixture", "last_turns"),
    [("tiny_loaded", 0), ("tiny_loaded", 3), ("tiny_token_loaded", 0), ("tiny_token_loaded", 2)],
)
def test_a_session_with_the_last_turns_in_view_answers_like_one_shown_them(
    fixture: str, last_turns: int, request: pytest.FixtureRequest
) -> None:
    """Whatever came before: a question, replayed history. What is foreseen changes nothing, and a
    fork goes on alike."""
    loaded, shown = request.getfixturevalue(fixture), stream(7, TALK)

    async def compared(engine: RecordingEngine, session: EngineSession, first: int) -> list[Said]:
        said: list[Said] = []
        for k, turn in enumerate(shown[first:], first):
            engine.logits.clear()
            answer = await session.respond(turn)
            ours, kept = torch.stack(engine.logits), past(session)[:-1]
            assert len(kept) == min(k, last_turns)
            fresh_engine = RecordingEngine(loaded, SHORT)
            with fresh_engine, fresh_engine.open() as fresh:
                for before, past_turn in zip(shown[k - len(kept) : k], kept, strict=True):
                    replay(fresh, before, past_turn)
                repeated = await fresh.respond(turn)
                assert fresh.context_ids == session.context_ids
            assert repeated.token_ids == answer.token_ids
            assert float((torch.stack(fresh_engine.logits) - ours).abs().max()) <= 1e-4
            said.append(answer.token_ids)
        return said

    async def go(lookahead: int) -> list[Said]:
        engine = RecordingEngine(loaded, SHORT, lookahead=lookahead)
        with engine, engine.open(window=engine.window_of_turns(last_turns)) as session:
            for turn in shown[:2]:
                session.replay(turn, Silence())
            session.foresee(shown[2:])
            if lookahead:
                return [(await session.respond(turn)).token_ids for turn in shown[2:]]
            said = await compared(engine, session, 2)
            with engine.open(window=engine.window_of_turns(last_turns)) as other:
                for turn in shown[:2]:
                    other.replay(turn, Silence())
                await other.respond(shown[2])
                with other.fork() as twin:
                    assert await compared(engine, twin, 3) == said[1:]
            return said

    assert asyncio.run(go(3)) == asyncio.run(go(0))


@pytest.mark.parametrize("fixture", ["tiny_loaded", "tiny_token_loaded"])
@pytest.mark.parametrize("num_missing", [0, 1])
def test_a_bound_in_tokens_counts_what_the_last_turns_leave(
    fixture: str, num_missing: int, request: pytest.FixtureRequest
) -> None:
    """To the token, though the turns that are left are rendered as those that begin a dialogue."""
    loaded, shown = request.getfixturevalue(fixture), stream(9, {})
    with Engine(loaded, SHORT) as engine, engine.open() as fresh:
        for turn in shown[5:-1]:
            fresh.replay(turn, Silence())
        lead = fresh._open_state().lead
        coming = loaded.renderer.user_turn(shown[-1], lead)
        num_needed = fresh.num_context_tokens + len(coming)
    most = num_needed - num_missing
    window = Window(most, most - 1, last_turns=3)
    kept = survivors(loaded, window, shown)
    assert kept == [5, 6, 7][-len(kept) :]
    assert 1 <= len(kept) <= 3 - num_missing
    assert num_missing or len(kept) == 3
    assert survivors(loaded, replace(window, last_turns=2), shown) == [6, 7]
    assert survivors(loaded, replace(window, last_turns=0), shown) == []


def test_the_last_turns_stay_also_once_the_model_is_full(tmp_path: Path) -> None:
    loaded = load_model(build_tiny_model(tmp_path, max_position_embeddings=400), device="cpu")
    shown = [EnvTurn("Now?" * 15, k + 1.0) for k in range(9)]
    with Engine(loaded, SHORT) as engine:
        window = engine.window_of_turns(4)
        assert (window.when_full, window.last_turns) == (True, 4)
        assert (window.max_tokens, window.num_outdated(4), window.num_outdated(6)) == (
            loaded.max_prefix_tokens,
            0,
            2,
        )
        with engine.open(window=window) as session:
            for turn in shown:
                asyncio.run(session.respond(turn))
                assert len(session.context_ids) <= 400
            assert 1 <= len(past(session)) <= 5
        bounded = engine.window_of_turns(2, Window(200, 90))
        assert bounded == Window(200, 90, last_turns=2)
    with Engine(loaded, SHORT, window=Window(150)) as engine:
        assert engine.window_of_turns(0) == Window(150, last_turns=0)
    with pytest.raises(ConfigError, match="last_turns must be at least 0, got -1"):
        Window(10, last_turns=-1)


@pytest.mark.parametrize("last_turns", [None, 2])
def test_no_turn_goes_ahead_where_only_the_last_turns_stay(
    tiny_loaded: LoadedModel, last_turns: int | None
) -> None:
    """It would be answered behind turns that are gone by then. None: the control."""
    shown = stream(7, {})
    silence = list(tiny_loaded.renderer.silence_ids)

    async def go(engine: Engine) -> list[int]:
        window = None if last_turns is None else engine.window_of_turns(last_turns)
        with engine.open(window=window) as session:
            session.foresee(shown)
            num_ahead = []
            for turn in shown:
                await session.respond(turn)
                num_ahead.append(len(session._open_state().ahead))
            return num_ahead

    engine = ScriptedEngine(tiny_loaded, [silence] * 7, SHORT, lookahead=3, lockstep=True)
    with engine:
        assert any(asyncio.run(go(engine))) == (last_turns is None)
