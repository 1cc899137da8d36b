"""Laws of the engine: the cache changes nothing, turns are closed, sessions are independent, runs
are repeatable."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.request import Request
from oncue.engine.sampler import banned_tokens
from oncue.engine.sampling import token_logprobs
from oncue.engine.step_runner import StepRunner
from oncue.errors import ContextFullError, InputError, ModelError
from oncue.model.loading import LoadedModel, load_model
from oncue.render.decision import Lead
from oncue.render.qwen_vl import DEFAULT_SYSTEM, PROACTIVE_SYSTEM, QwenVLRenderer
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Reply, Silence
from policy_support import RecordingEngine, drawn_indices, hold, say, shown, stock_logits
from tiny_model import build_tiny_model, random_turn

SHORT = SamplingParams(max_new_tokens=4)
WARM = SamplingParams(temperature=1.2, top_k=10, max_new_tokens=6, seed=3)


def test_prompts_are_appended_and_cut_turns_are_closed(tiny_loaded: LoadedModel) -> None:
    engine, renderer = Engine(tiny_loaded, SamplingParams(max_new_tokens=2)), tiny_loaded.renderer
    turns = shown(30)
    prefix = tuple(renderer.system_block(PROACTIVE_SYSTEM).token_ids.tolist())
    num_cut = 0

    async def go() -> None:
        nonlocal prefix, num_cut
        with engine.open() as session:
            for k, turn in enumerate(turns):
                answer = await session.respond(turn)
                prompt = prefix + tuple(
                    renderer.user_turn(turn, Lead.CLOSED if k else Lead.START).token_ids.tolist()
                )
                assert session.context_ids == prompt + answer.token_ids
                assert answer.token_ids.count(renderer.im_end_id) == 1
                assert answer.token_ids[-1] == renderer.im_end_id
                assert len(answer.logprobs) == len(answer.token_ids)
                if answer.forced_close:
                    num_cut += 1
                    assert len(answer.token_ids) == 3
                    assert answer.logprobs[-1] == 0.0
                    assert not isinstance(answer.action, Reply) or answer.action.truncated
                else:
                    assert len(answer.token_ids) <= 2
                    assert not isinstance(answer.action, Reply) or not answer.action.truncated
                prefix = session.context_ids

    asyncio.run(go())
    assert 0 < num_cut < len(turns)  # both kinds were seen


def test_replayed_history_equals_having_said_it(tiny_loaded: LoadedModel) -> None:
    turns = shown(12)
    actions = [Silence() if k % 3 else Reply(f"Something red, number {k}.") for k in range(8)]

    def go(*, lazily: bool) -> tuple[list[PolicyTurn], tuple[int, ...], list[torch.Tensor]]:
        engine = RecordingEngine(tiny_loaded, SHORT)

        async def run() -> tuple[list[PolicyTurn], tuple[int, ...], list[torch.Tensor]]:
            with engine.open() as session:
                for turn, action in zip(turns, actions, strict=False):
                    history = session.replay(turn, action)
                    assert not history.sampled
                    assert history.action == action
                    assert history.logprobs == ()
                    if not lazily:
                        await session.fill()
                answers = await hold(session, turns[8:])
                return answers, session.context_ids, engine.logits

        return asyncio.run(run())

    at_once, one_by_one = go(lazily=True), go(lazily=False)
    assert [a.token_ids for a in at_once[0]] == [a.token_ids for a in one_by_one[0]]
    assert at_once[1] == one_by_one[1]
    assert (
        max(float((a - b).abs().max()) for a, b in zip(at_once[2], one_by_one[2], strict=True))
        <= 1e-4
    )


def test_replayed_and_sampled_turns_mix(tiny_loaded: LoadedModel) -> None:
    engine, turns = Engine(tiny_loaded, SHORT), shown(3)
    renderer = tiny_loaded.renderer
    with engine.open() as said, engine.open() as replayed:
        said.replay(turns[0], Silence())
        answer = asyncio.run(said.respond(turns[1]))
        replayed.replay(turns[0], Silence())
        replayed.replay(turns[1], Silence())
        length = len(said.context_ids) - len(answer.token_ids)
        assert replayed.context_ids == said.context_ids[:length] + renderer.silence_ids


def test_sampling_is_repeatable_and_depends_on_the_seed(tiny_loaded: LoadedModel) -> None:
    turns = shown(8)

    def ids(sampling: SamplingParams, seed: int | None = None) -> list[tuple[int, ...]]:
        return [answer.token_ids for answer in say(Engine(tiny_loaded, sampling), turns, seed)[0]]

    assert ids(WARM) == ids(WARM)
    assert ids(WARM, seed=5) == ids(WARM, seed=5)
    assert ids(WARM, seed=5) != ids(WARM, seed=6)
    assert ids(WARM) != ids(SamplingParams(temperature=1.2, top_k=10, max_new_tokens=6, seed=4))
    engine = Engine(tiny_loaded, WARM)
    first, second = (say(engine, turns)[0] for _ in range(2))  # the sessions of one engine differ
    assert [a.token_ids for a in first] != [a.token_ids for a in second]


@pytest.mark.parametrize(
    "sampling",
    [
        SHORT,
        SamplingParams(temperature=0.8, max_new_tokens=5),
        WARM,
        SamplingParams(temperature=1.0, top_p=0.7, max_new_tokens=5),
    ],
    ids=["greedy", "temperature", "top_k", "top_p"],
)
def test_logprobs_are_those_of_the_distribution_drawn_from(
    tiny_loaded: LoadedModel, sampling: SamplingParams
) -> None:
    engine, turns = Engine(tiny_loaded, sampling), shown(20)
    answers, context_ids = say(engine, turns)
    indices = drawn_indices(context_ids, engine, turns, answers)
    stock = stock_logits(tiny_loaded, context_ids, turns)[[index - 1 for index in indices]]
    chosen = torch.tensor([context_ids[index] for index in indices])[:, None]
    ours = torch.tensor(
        [p for a in answers for p in a.logprobs[: len(a.logprobs) - a.forced_close]]
    )
    recomputed = token_logprobs(stock, sampling, banned_tokens(tiny_loaded)).gather(1, chosen)[:, 0]
    assert float((ours - recomputed).abs().max()) <= 1e-4
    if (
        sampling.temperature not in (0.0, 1.0) or sampling.top_p < 1
    ):  # control: the plain softmax is another one
        plain = stock.log_softmax(-1).gather(1, chosen)[:, 0]
        assert float((ours - plain).abs().max()) > 1e-2


def test_markup_is_never_chosen(tiny_loaded: LoadedModel) -> None:
    renderer = tiny_loaded.renderer
    banned = set(torch.nonzero(banned_tokens(tiny_loaded))[:, 0].tolist())
    assert {renderer.image_pad_id, renderer.vision_start_id, renderer.im_start_id} <= banned
    assert renderer.im_end_id not in banned
    assert banned.isdisjoint(renderer.silence_ids)
    assert set(range(renderer.tokenizer.get_vocab_size(), 512)) <= banned  # ids without a text

    weight = tiny_loaded.model.lm_head.weight
    kept = weight[renderer.image_pad_id].clone()
    turns = shown(6)
    favoured = torch.stack(_hidden(tiny_loaded, turns)).mean(0)
    try:
        weight.data[renderer.image_pad_id] = 100 * favoured  # now the likeliest token by far
        engine = RecordingEngine(tiny_loaded, SHORT)
        answers, _ = say(engine, turns)
    finally:
        weight.data[renderer.image_pad_id] = kept
    assert any(int(logits_V.argmax()) == renderer.image_pad_id for logits_V in engine.logits)
    assert all(banned.isdisjoint(answer.token_ids) for answer in answers)


def _hidden(loaded: LoadedModel, turns: list[EnvTurn]) -> list[torch.Tensor]:
    """What the output layer is given for each token chosen."""
    seen: list[torch.Tensor] = []
    hook = loaded.model.lm_head.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0].detach().clone())
    )
    try:
        say(Engine(loaded, SHORT, draft=False), turns)
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize("sampling", [SHORT, WARM], ids=["greedy", "sampled"])
def test_sessions_do_not_disturb_each_other(
    tiny_loaded: LoadedModel, sampling: SamplingParams
) -> None:
    first, second = shown(10, seed=1), shown(10, seed=2)
    alone = [
        say(Engine(tiny_loaded, sampling), turns, seed)[0]
        for turns, seed in ((first, 11), (second, 12))
    ]

    async def together() -> list[list[PolicyTurn]]:
        engine = Engine(tiny_loaded, sampling)
        with engine.open(seed=11) as a, engine.open(seed=12) as b:
            return list(await asyncio.gather(hold(a, first), hold(b, second)))

    for apart, beside in zip(alone, asyncio.run(together()), strict=True):
        assert [a.token_ids for a in apart] == [a.token_ids for a in beside]
        ours, theirs = ([p for a in answers for p in a.logprobs] for answers in (apart, beside))
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_waiting_sessions_are_taken_in_one_step(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    advance = StepRunner._advance
    monkeypatch.setattr(
        StepRunner,
        "_advance",
        lambda self, answers: sizes.append(len(answers)) or advance(self, answers),
    )
    engine, turns = Engine(tiny_loaded, SamplingParams(max_new_tokens=1)), shown(3)

    async def go() -> None:
        sessions = [engine.open() for _ in range(4)]
        await asyncio.gather(*(hold(session, turns) for session in sessions))

    asyncio.run(go())
    assert sizes == [4, 4, 4]


def test_one_bad_turn_leaves_others_and_its_own_session_as_they_were(
    tiny_loaded: LoadedModel,
) -> None:
    engine, turns = Engine(tiny_loaded, SHORT), shown(4)
    too_thin = EnvTurn(FrameBatch(np.zeros((1, 1, 500, 3), np.uint8), np.zeros(1)), 9.0)

    async def go() -> None:
        with engine.open() as good, engine.open() as bad:
            await asyncio.gather(good.respond(turns[0]), bad.respond(turns[0]))
            before = bad.context_ids
            fine, error = await asyncio.gather(
                good.respond(turns[1]), bad.respond(too_thin), return_exceptions=True
            )
            assert isinstance(fine, PolicyTurn)
            assert isinstance(error, InputError)
            assert bad.context_ids == before
            assert await bad.respond(turns[1]) is not None
            assert bad.context_ids == good.context_ids

    asyncio.run(go())


@pytest.mark.parametrize(
    "num_good_calls", [0, 2], ids=["while reading the turn", "while answering"]
)
def test_a_failed_forward_is_rolled_back(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, num_good_calls: int
) -> None:
    turns = shown(4)
    expected = [answer.token_ids for answer in say(Engine(tiny_loaded, WARM), turns, seed=7)[0]]
    assert len(expected[1]) > num_good_calls  # so the failing call is made
    engine = Engine(tiny_loaded, WARM)
    layer = tiny_loaded.model.model.language_model.layers[-1]
    whole, calls = layer.forward, itertools.count()

    def fails(*args: object, **kwargs: object) -> object:
        if next(calls) >= num_good_calls:
            raise MemoryError("no room")
        return whole(*args, **kwargs)

    async def go() -> list[tuple[int, ...]]:
        with engine.open(seed=7) as session:
            got = [(await session.respond(turns[0])).token_ids]
            with monkeypatch.context() as patch:
                patch.setattr(layer, "forward", fails)
                with pytest.raises(MemoryError):
                    await session.respond(turns[1])
            return got + [answer.token_ids for answer in await hold(session, turns[1:])]

    assert asyncio.run(go()) == expected


@pytest.mark.parametrize("part", ["choose", "settle"])
def test_an_error_after_the_forward_is_rolled_back_for_all_who_shared_it(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    turns = shown(4)

    async def go(engine: Engine, error: type[Exception] | None) -> list[list[tuple[int, ...]]]:
        with engine.open(seed=7) as one, engine.open(seed=8) as two:
            got = [
                [
                    a.token_ids
                    for a in await asyncio.gather(*(s.respond(turns[0]) for s in (one, two)))
                ]
            ]
            if error is not None:
                held = [(s.context_ids, s._state.slot.length) for s in (one, two)]
                with monkeypatch.context() as patch:
                    patch.setattr(*fails_late(part, error))
                    failed = await asyncio.gather(
                        *(s.respond(turns[1]) for s in (one, two)), return_exceptions=True
                    )
                assert [type(f) for f in failed] == [error, error]
                assert held == [(s.context_ids, s._state.slot.length) for s in (one, two)]
            for turn in turns[1:]:
                got.append(
                    [
                        a.token_ids
                        for a in await asyncio.gather(*(s.respond(turn) for s in (one, two)))
                    ]
                )
            return got

    calm = asyncio.run(go(Engine(tiny_loaded, WARM), None))
    assert asyncio.run(go(Engine(tiny_loaded, WARM), MemoryError)) == calm


def fails_late(part: str, error: type[Exception]) -> tuple[type, str, object]:
    """What to patch so that choosing fails once an answer has begun, or reading one that is
    over."""
    if part == "settle":

        def unread(*_: object, **__: object) -> None:
            raise error("late")

        return QwenVLRenderer, "read_action", unread
    whole, calls = Request.advance, itertools.count()

    def stops(*args: Any) -> None:
        whole(*args)  # it has chosen, and used its random numbers
        if next(calls) >= 2:
            raise error("late")

    return Request, "advance", stops


def test_answers_under_way_when_the_engine_closes_leave_nothing_behind(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tiny_loaded, WARM)
    choose, num_done = engine._steps._sampler.choose, []

    def closes(answers: list[Request], logits_RV: torch.Tensor) -> None:
        choose(answers, logits_RV)
        num_done.append(sum(answer.done for answer in answers))
        engine._thread.shutdown(wait=False)

    async def go() -> None:
        session = engine.open(seed=7)
        await session.respond(shown(1)[0])
        held = (
            session.context_ids,
            session._state.slot.length,
            session._state.generator.get_state().tolist(),
        )
        monkeypatch.setattr(engine._steps._sampler, "choose", closes)
        with pytest.raises(RuntimeError, match="shutdown"):
            await asyncio.wait_for(session.respond(shown(2)[1]), 5)
        assert num_done == [0]  # so it was speaking
        assert held == (
            session.context_ids,
            session._state.slot.length,
            session._state.generator.get_state().tolist(),
        )
        session.close()
        assert engine.num_slots_taken == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    "sampling", [SamplingParams(max_new_tokens=4), WARM], ids=["greedy", "sampled"]
)
def test_output_that_is_no_number_fails_its_own_turn_only(
    tiny_loaded: LoadedModel, sampling: SamplingParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As half precision gives where a model's values are too large for it."""
    turn = shown(1)[0]

    async def go(*, broken: bool) -> list[Any]:
        with (
            Engine(tiny_loaded, sampling) as engine,
            engine.open(seed=1) as first,
            engine.open(seed=2) as second,
        ):
            forward, to_break = engine._model.forward, [broken]

            def breaks(rows: Any) -> torch.Tensor:
                logits = forward(rows).clone()
                if to_break and to_break.pop():
                    logits[0] = torch.nan  # what the first session is to say first
                return logits

            monkeypatch.setattr(engine._model, "forward", breaks)
            waiting = [session.respond(turn) for session in (first, second)]
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            again = await first.respond(turn)
            return [*answers, again]

    whole, other, _ = asyncio.run(go(broken=False))
    error, same, again = asyncio.run(go(broken=True))
    assert isinstance(error, ModelError)
    assert "not a number" in str(error)
    assert same.token_ids == other.token_ids
    assert (
        again.token_ids == whole.token_ids
    )  # the session is as it was, its random numbers included


def test_the_context_limit_is_an_error_that_changes_nothing(tmp_path: Path) -> None:
    limit = 600
    loaded = load_model(build_tiny_model(tmp_path, max_position_embeddings=limit), device="cpu")
    engine, turns = Engine(loaded, SamplingParams(max_new_tokens=4)), shown(60)

    async def go() -> int:
        with engine.open() as session:
            for k, turn in enumerate(turns):
                before = session.context_ids
                outcome, *_ = await asyncio.gather(session.respond(turn), return_exceptions=True)
                if isinstance(outcome, ContextFullError):
                    assert str(limit) in str(outcome)
                    assert session.context_ids == before
                    return k
                assert isinstance(outcome, PolicyTurn)
                assert session._state is not None
                assert session._state.next_position + len(session._state.pending_ids) <= limit
        return len(turns)

    assert 0 < asyncio.run(go()) < len(turns)


def test_closing_gives_the_cache_back(tiny_loaded: LoadedModel) -> None:
    engine = Engine(tiny_loaded, SHORT)
    session, turns = engine.open(), shown(3)
    asyncio.run(hold(session, turns))
    held = session.num_context_bytes
    assert held > 0
    session.close()
    session.close()
    assert (session.num_context_tokens, session.num_context_bytes) == (0, 0)
    assert (engine.num_open, engine.num_slots_taken) == (0, 0)
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(session.respond(turns[0]))
    assert engine._pool.num_free_bytes >= held
    asyncio.run(hold(engine.open(), turns))
    assert engine._pool.num_free_bytes < held  # the next session took it over


def test_one_session_answers_one_turn_at_a_time(tiny_loaded: LoadedModel) -> None:
    engine, turns = Engine(tiny_loaded, SHORT), shown(2)

    async def go() -> list[object]:
        session = engine.open()
        return await asyncio.gather(
            *(session.respond(turn) for turn in turns), return_exceptions=True
        )

    fine, error = asyncio.run(go())
    assert isinstance(fine, PolicyTurn)
    assert isinstance(error, RuntimeError)


def test_a_cancelled_turn_closes_its_session_only(tiny_loaded: LoadedModel) -> None:
    engine, turns = Engine(tiny_loaded, SHORT), shown(2)

    async def go() -> None:
        kept, dropped = engine.open(), engine.open()
        task = asyncio.create_task(dropped.respond(turns[0]))
        await asyncio.sleep(0)
        task.cancel()
        assert isinstance(await kept.respond(turns[0]), PolicyTurn)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(RuntimeError, match="closed"):
            await dropped.respond(turns[1])

    asyncio.run(go())


def test_a_closed_engine_says_so(tiny_loaded: LoadedModel) -> None:
    with Engine(tiny_loaded, SHORT) as engine:
        session = engine.open()
    with pytest.raises(RuntimeError, match="engine is closed"):
        asyncio.run(session.respond(shown(1)[0]))


def test_a_turn_that_waits_when_the_engine_closes_is_not_left_waiting(
    tiny_loaded: LoadedModel,
) -> None:
    engine = Engine(tiny_loaded, SHORT)

    async def go() -> None:
        task = asyncio.create_task(engine.open().respond(shown(1)[0]))
        await asyncio.sleep(0)  # submitted, not started
        engine.close()
        with pytest.raises(RuntimeError, match="shutdown"):
            await asyncio.wait_for(task, 5)

    asyncio.run(go())


def test_the_system_message(tiny_loaded: LoadedModel) -> None:
    engine, renderer = Engine(tiny_loaded, SHORT), tiny_loaded.renderer

    def text(**given: str | None) -> str:
        return renderer.tokenizer.decode(
            list(engine.open(**given).context_ids), skip_special_tokens=False
        )

    assert text() == f"<|im_start|>system\n{PROACTIVE_SYSTEM}<|im_end|>\n"
    assert (
        text(system=DEFAULT_SYSTEM)
        == "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    )
    assert text(system="Count.") == "<|im_start|>system\nCount.<|im_end|>\n"


def test_a_frame_makes_a_difference(tiny_loaded: LoadedModel) -> None:
    """Control for the laws above: what is shown reaches the logits."""
    turns, random = shown(1), np.random.default_rng(9)
    engine = RecordingEngine(tiny_loaded, SamplingParams(max_new_tokens=1))
    say(engine, turns)
    say(engine, [random_turn(random, 1.0, num_frames=2, text=turns[0].text)])
    assert float((engine.logits[0] - engine.logits[-1]).abs().max()) > 1e-2
