"""Laws of turns that go ahead: no answer changes, silence in a row is one forward, what is foreseen
binds nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_draft import clip_turns

from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.engine.frame_preparer import FramePreparer
from oncue.engine.lookahead import Lookahead
from oncue.engine.model_runner import ModelRunner, RowInput
from oncue.engine.request import Request
from oncue.engine.step_runner import StepRunner
from oncue.env.fixed_turns import FixedTurns
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel, load_model
from oncue.render.decision import Lead
from oncue.rollout import run_episode
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Silence, Task
from policy_support import RecordingEngine, cached_against_stock, hold, say
from tiny_model import build_tiny_model

GREEDY = SamplingParams(max_new_tokens=6)
WARM = SamplingParams(temperature=1.5, max_new_tokens=6, seed=3)


@pytest.fixture(scope="module")
def mini() -> LoadedModel:
    """The bundled model: silent in most turns, and not in all."""
    return load_model("mini", device="cpu")


@pytest.fixture
def num_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of every forward, how many logits its first row read: those of a silent answer are 3 per
    turn."""
    counts: list[int] = []
    forward = ModelRunner.forward

    def counting(self: ModelRunner, rows: Sequence[RowInput]) -> torch.Tensor:
        counts.append(len(rows[0].read))
        return forward(self, rows)

    monkeypatch.setattr(ModelRunner, "forward", counting)
    return counts


def still(num_turns: int) -> list[EnvTurn]:
    """The same picture again and again, and no question: nobody says anything."""
    first = replace(clip_turns(3)[0], text="")
    return [EnvTurn(first.frames, k + 1.0) for k in range(num_turns)]


@pytest.fixture
def boldly(monkeypatch: pytest.MonkeyPatch) -> None:
    """All turns may go ahead, also right after a reply: more that is dropped, more that could go
    wrong."""
    monkeypatch.setattr(Lookahead, "reach", lambda self, _: self.most)


# Engines in lockstep wait for frames to be prepared, so what goes ahead in these tests does not
# depend on time.


def foretold(
    engine: Engine, turns: Sequence[EnvTurn], seed: int | None = None
) -> tuple[list[PolicyTurn], tuple[int, ...]]:
    """A fresh session's answers to `turns`, all of them known from the start, and its prefix
    afterwards."""

    async def go() -> tuple[list[PolicyTurn], tuple[int, ...]]:
        with engine.open(seed=seed) as session:
            episode = await run_episode(FixedTurns(turns), session, Task("t"))
            return [exchange.acted for exchange in episode.exchanges], session.context_ids

    return asyncio.run(go())


def assert_same(ours: Sequence[PolicyTurn], theirs: Sequence[PolicyTurn]) -> None:
    assert [a.token_ids for a in ours] == [a.token_ids for a in theirs]
    ours_p, theirs_p = ([p for a in answers for p in a.logprobs] for answers in (ours, theirs))
    assert ours_p == pytest.approx(theirs_p, abs=1e-4)


TWO_CLIPS = [turn for index in range(2) for turn in clip_turns(index)]


@pytest.fixture(scope="module", params=[GREEDY, WARM], ids=["greedy", "sampled"])
def plainly(
    request: pytest.FixtureRequest, mini: LoadedModel
) -> tuple[SamplingParams, list[PolicyTurn], tuple[int, ...]]:
    """A sampling, the answers to two clips one turn at a time, and the prefix afterwards."""
    answers, context = say(Engine(mini, request.param), TWO_CLIPS, 5)
    assert 10 < sum(isinstance(a.action, Silence) for a in answers) < 55  # both were seen
    return request.param, answers, context


@pytest.mark.parametrize(("lookahead", "bold"), [(1, True), (3, True), (50, False)])
def test_knowing_what_comes_changes_no_answer(
    mini: LoadedModel,
    request: pytest.FixtureRequest,
    plainly: tuple[SamplingParams, list[PolicyTurn], tuple[int, ...]],
    lookahead: int,
    bold: bool,
) -> None:
    if bold:
        request.getfixturevalue("boldly")
    sampling, plain, context = plainly
    engine = Engine(mini, sampling, lookahead=lookahead, lockstep=True)
    ahead, same_context = foretold(engine, TWO_CLIPS, 5)
    assert_same(ahead, plain)
    assert context == same_context


@pytest.mark.usefixtures("boldly")
@pytest.mark.parametrize("max_new_tokens", [1, 2, 3, 4])
def test_answers_that_are_cut_short(mini: LoadedModel, max_new_tokens: int) -> None:
    """A silence that was closed by force is not the drafted one: what went ahead stood behind
    another."""
    turns, sampling = (
        clip_turns(0),
        SamplingParams(temperature=1.5, max_new_tokens=max_new_tokens, seed=3),
    )

    async def go(lookahead: int) -> tuple[list[PolicyTurn], list[int]]:
        with (
            Engine(mini, sampling, lookahead=lookahead, lockstep=True) as engine,
            engine.open(seed=5) as session,
        ):
            session.foresee(turns)
            answers, num_cached = [], []
            for turn in turns:
                answers.append(await session.respond(turn))
                num_cached.append(session._open_state().num_cached)
            return answers, num_cached

    (ahead, num_ahead), (plain, num_plain) = asyncio.run(go(3)), asyncio.run(go(0))
    assert_same(ahead, plain)
    assert num_ahead == num_plain


def test_a_shared_forward_counts_in_equal_parts(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward of four turns is told to have taken 4,000 seconds; the turn that waited for it
    bears 1,000 of them."""
    take = Request.take

    def slow(self: Request, logits_RV: torch.Tensor, forward_s: float) -> None:
        take(self, logits_RV, 4000.0 if len(self.following) == 3 else forward_s)

    monkeypatch.setattr(Request, "take", slow)
    answers = foretold(Engine(mini, GREEDY, lookahead=3, lockstep=True), still(7))[0]
    assert [round(answer.latency_ms / 1e6) for answer in answers] == [0, 0, 0, 1 - 4, 1, 1, 1]


def test_logits_of_turns_ahead_are_those_of_a_plain_forward(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = TWO_CLIPS
    num_ahead = 0
    begin = StepRunner._begin

    def counting(self: StepRunner, waiting: Any) -> Any:
        nonlocal num_ahead
        answer = begin(self, waiting)
        num_ahead += answer.logits_RV is not None
        return answer

    monkeypatch.setattr(StepRunner, "_begin", counting)
    monkeypatch.setattr("policy_support.say", foretold)
    monkeypatch.setattr(
        "policy_support.RecordingEngine",
        lambda loaded, sampling: RecordingEngine(loaded, sampling, lookahead=4, lockstep=True),
    )
    difference, num_wrong, answers = cached_against_stock(mini, turns, GREEDY)
    assert num_ahead > len(turns) / 3
    assert (difference < 1e-4, num_wrong) == (True, 0)
    assert len(answers) == len(turns)


@pytest.mark.usefixtures("boldly")
def test_a_position_that_is_off_by_one_would_be_noticed(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: turns ahead that stand one place too far."""
    turns = clip_turns(0)
    plain = say(Engine(mini, GREEDY), turns)[0]
    made = Lookahead.__init__

    def off(self: Lookahead, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        self._num_fed -= 1

    monkeypatch.setattr(Lookahead, "__init__", off)
    with pytest.raises(AssertionError):
        assert_same(foretold(Engine(mini, GREEDY, lookahead=3, lockstep=True), turns)[0], plain)


def test_who_has_just_spoken_is_asked_about_one_turn(
    mini: LoadedModel, num_read: list[int]
) -> None:
    talks = SamplingParams(max_new_tokens=6, reply_bias=50.0)
    answers = foretold(Engine(mini, talks, lookahead=3, lockstep=True), clip_turns(0)[:8])[0]
    assert not any(isinstance(a.action, Silence) for a in answers)
    assert max(num_read) == 3


def test_turns_that_are_large_do_not_go_ahead(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch, num_read: list[int]
) -> None:
    quiet = still(7)
    room = 2 * (len(mini.renderer.user_turn(quiet[1], Lead.CLOSED)) + 1)
    monkeypatch.setattr("oncue.engine.lookahead._MOST_NEW_TOKENS", room)
    foretold(Engine(mini, GREEDY, lookahead=6, lockstep=True), quiet)
    assert max(num_read) == 3 * 3


@pytest.mark.usefixtures("boldly")
def test_the_token_format_goes_ahead_too(tmp_path: Path) -> None:
    """Where silence leaves nothing behind, the turns ahead follow each other within one user
    turn."""
    build_tiny_model(tmp_path, decision_format="token")
    loaded = load_model(str(tmp_path), device="cpu")
    random = np.random.default_rng(2)
    turns = [EnvTurn(_noise(random), k + 1.0, "What now?" if k == 3 else "") for k in range(30)]
    sampling = SamplingParams(temperature=1.0, max_new_tokens=5, seed=1, reply_bias=-6)
    plain, context = say(Engine(loaded, sampling), turns, 4)
    ahead, same_context = foretold(Engine(loaded, sampling, lookahead=3, lockstep=True), turns, 4)
    assert_same(ahead, plain)
    assert context == same_context
    assert {True, False} == {isinstance(a.action, Silence) for a in plain}


def test_the_longer_the_silence_the_more_turns_share_a_forward(
    mini: LoadedModel, num_read: list[int]
) -> None:
    answers = foretold(Engine(mini, GREEDY, lookahead=3, lockstep=True), still(9))[0]
    assert all(isinstance(a.action, Silence) for a in answers)
    assert num_read == [1 * 3, 2 * 3, 4 * 3, 2 * 3]


@pytest.mark.usefixtures("boldly")
def test_another_turn_than_the_foreseen_one_is_answered_as_if_nothing_had_been(
    mini: LoadedModel,
) -> None:
    """Also one that says the same; and what is foreseen after that counts again."""
    turns, others = clip_turns(0)[:12], clip_turns(1)[:12]
    shown = [*turns[:3], *others[3:6], *turns[6:9]]

    async def go() -> list[PolicyTurn]:
        with Engine(mini, GREEDY, lookahead=5, lockstep=True) as engine, engine.open() as session:
            session.foresee(turns)
            answers = await hold(session, shown[:6])
            session.foresee(turns[6:9])
            answers += await hold(session, shown[6:])
            state = session._open_state()
            assert not state.coming
            return answers

    assert_same(asyncio.run(go()), say(Engine(mini, GREEDY), shown)[0])


@pytest.mark.usefixtures("boldly")
def test_history_that_is_replayed_and_forks_in_between(mini: LoadedModel) -> None:
    turns = clip_turns(2)[:10]

    async def go(lookahead: int) -> tuple[list[PolicyTurn], list[PolicyTurn]]:
        with Engine(mini, GREEDY, lookahead=lookahead) as engine, engine.open() as session:
            session.foresee(turns)
            answers = await hold(session, turns[:2])
            with session.fork() as twin:
                theirs = await hold(twin, turns[2:])
            session.replay(turns[2], Silence())
            answers += await hold(session, turns[3:])
            return answers, theirs

    for ours, plain in zip(asyncio.run(go(4)), asyncio.run(go(0)), strict=True):
        assert_same(ours, plain)


@pytest.mark.parametrize("max_tokens", [400, 900])
def test_a_window_is_cut_where_it_would_be_without(mini: LoadedModel, max_tokens: int) -> None:
    turns = TWO_CLIPS
    window = Window(max_tokens)
    plain, context = say(Engine(mini, GREEDY, window=window), turns)
    ahead, same_context = foretold(
        Engine(mini, GREEDY, window=window, lookahead=6, lockstep=True), turns
    )
    assert_same(ahead, plain)
    assert context == same_context


def test_members_of_a_group_that_look_ahead_say_what_they_say_without(mini: LoadedModel) -> None:
    """Rows shared, members that part, and a step that some need no forward in."""
    turns = clip_turns(4)[:20]

    async def go(lookahead: int) -> list[list[PolicyTurn]]:
        async def one(session: Any) -> list[PolicyTurn]:
            with session:
                episode = await run_episode(FixedTurns(turns), session, Task("t"))
                return [exchange.acted for exchange in episode.exchanges]

        with Engine(mini, WARM, lockstep=True, lookahead=lookahead) as engine:
            sessions = [engine.open(seed=seed) for seed in range(6)]
            said = await asyncio.gather(*(one(session) for session in sessions))
            assert (engine.num_open, engine.num_slots_taken) == (0, 0)
            return list(said)

    plain, ahead = asyncio.run(go(0)), asyncio.run(go(3))
    for ours, theirs in zip(ahead, plain, strict=True):
        assert_same(ours, theirs)
    assert len({tuple(a.token_ids for a in each) for each in plain}) > 1


@pytest.mark.usefixtures("boldly")
def test_a_turn_ahead_that_cannot_be_prepared_fails_when_it_is_shown(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = clip_turns(0)[:6]
    prepared = FramePreparer._prepared

    def breaking(self: FramePreparer, pixels: Sequence[np.ndarray], *, shared: bool) -> Any:
        if any(np.shares_memory(frame, turns[3].frames.pixels) for frame in pixels):
            raise ZeroDivisionError
        return prepared(self, pixels, shared=shared)

    monkeypatch.setattr(FramePreparer, "_prepared", breaking)

    async def go() -> list[PolicyTurn]:
        with Engine(mini, GREEDY, lookahead=5, lockstep=True) as engine, engine.open() as session:
            session.foresee(turns)
            answers = await hold(session, turns[:3])
            with pytest.raises(ZeroDivisionError):
                await session.respond(turns[3])
            return answers + await hold(session, turns[4:])

    answers = asyncio.run(go())
    monkeypatch.undo()
    assert_same(answers, say(Engine(mini, GREEDY), [*turns[:3], *turns[4:]])[0])


def test_a_forward_that_fails_with_turns_ahead_is_tried_without_them(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the size of it: one turn still fits. It is not tried again."""
    num_failed = 0
    forward = ModelRunner.forward

    def limited(self: ModelRunner, rows: Sequence[RowInput]) -> torch.Tensor:
        nonlocal num_failed
        if sum(len(row.read) for row in rows) > 3:
            num_failed += 1
            raise MemoryError("too much")
        return forward(self, rows)

    turns = clip_turns(0)[:8]
    plain = say(Engine(mini, GREEDY), turns)[0]
    monkeypatch.setattr(ModelRunner, "forward", limited)
    assert_same(foretold(Engine(mini, GREEDY, lookahead=3, lockstep=True), turns)[0], plain)
    assert num_failed == 1


@pytest.mark.usefixtures("boldly")
def test_near_the_end_of_the_context_nothing_goes_ahead(
    mini: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answers that fit, the one cut short, and the error are those of one turn at a
    time."""
    turns = clip_turns(0)
    monkeypatch.setattr(LoadedModel, "max_prefix_tokens", property(lambda _: 200))

    def until_full(engine: Engine, *, tell: bool) -> tuple[list[PolicyTurn], str]:
        async def go() -> tuple[list[PolicyTurn], str]:
            answers: list[PolicyTurn] = []
            with engine.open() as session:
                if tell:
                    session.foresee(turns)
                try:
                    for turn in turns:
                        answers.append(await session.respond(turn))
                except Exception as error:  # what it says is compared
                    return answers, str(error)
            return answers, ""

        return asyncio.run(go())

    plain, message = until_full(Engine(mini, GREEDY), tell=False)
    ahead, same_message = until_full(Engine(mini, GREEDY, lookahead=4, lockstep=True), tell=True)
    assert message == same_message != ""
    assert_same(ahead, plain)
    assert 2 < len(plain) < len(turns)


def test_a_lookahead_below_0_is_refused(mini: LoadedModel) -> None:
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        Engine(mini, lookahead=-1)


def test_what_is_foreseen_is_not_kept_by_an_engine_that_makes_no_use_of_it(
    mini: LoadedModel,
) -> None:
    for engine in (Engine(mini, GREEDY), Engine(mini, GREEDY, lookahead=3, draft=False)):
        with engine, engine.open() as session:
            session.foresee(clip_turns(0))
            assert not session._open_state().coming


def _noise(random: np.random.Generator) -> FrameBatch:
    return FrameBatch(random.integers(0, 255, (1, 28, 56, 3), np.uint8), np.zeros(1))
