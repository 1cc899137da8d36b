"""Laws of token traces: what was sampled is what is trained, whatever the policy was shown and
however it was cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.engine.model_runner import RowInput
from oncue.engine.sampler import banned_tokens
from oncue.engine.sampling import token_logprobs
from oncue.engine.session import EngineSession
from oncue.engine.trace_recorder import TraceRecorder
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import ContextFullError
from oncue.model.loading import LoadedModel
from oncue.render.decision import TokenDecision
from oncue.render.positions import mrope_positions
from oncue.render.trace import TokenTrace
from oncue.rollout import run_episode
from oncue.train.forward import trained_logits
from oncue.train.rl.advantage import num_turns, of_tokens
from oncue.train.rl.policy_samples import PolicyBatch, collate_policy, policy_samples
from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    Episode,
    FrameBatch,
    Malformed,
    PolicyTurn,
    Reply,
    Retrieve,
    Silence,
    StopReason,
)
from policy_support import ScriptedEngine
from retrieval_support import RETRIEVAL_TASK, FakeZoom, pool_of
from tiny_model import mixed_turn, random_turn

WARM = SamplingParams(temperature=1.3, top_k=12, max_new_tokens=4)
LONG = SamplingParams(temperature=1.3, max_new_tokens=60)
Choices = list[tuple[int, int, float]]  # turn, token, log-probability


def turns(count: int, seed: int = 0, questions: Sequence[int] = (0,)) -> list[EnvTurn]:
    random = np.random.default_rng(seed)
    return [
        random_turn(random, k + 1.0, 1, "What is it?" if k in questions else "")
        for k in range(count)
    ]


def mixed_turns(count: int, questions: Sequence[int]) -> list[EnvTurn]:
    random = np.random.default_rng(0)
    return [
        mixed_turn(random, k + 1.0, "What is it?" if k in questions else "") for k in range(count)
    ]


async def answered(
    session: EngineSession, shown: Sequence[EnvTurn]
) -> tuple[list[PolicyTurn], TokenTrace]:
    with session:
        said = [await session.respond(turn) for turn in shown]
        return said, session.trace()


def sampled(said: Sequence[PolicyTurn], first_turn: int = 0) -> Choices:
    """What was drawn, by the answers themselves."""
    return [
        (first_turn + k, token, logprob)
        for k, turn in enumerate(said)
        for token, logprob in list(zip(turn.token_ids, turn.logprobs, strict=True))[
            : len(turn.token_ids) - turn.forced_close
        ]
    ]


def traced(trace: TokenTrace) -> Choices:
    """The same, by the trace."""
    return [
        (int(segment.turn_of[p]), int(segment.target_ids[p]), float(segment.logprobs[p]))
        for segment in trace.segments
        for p in np.flatnonzero(segment.loss_mask)
    ]


def same(one: Choices, other: Choices) -> bool:
    return [c[:2] for c in one] == [c[:2] for c in other] and [c[2] for c in one] == pytest.approx(
        [c[2] for c in other], abs=1e-6
    )


def trainer_gap(
    loaded: LoadedModel, traces: Sequence[TokenTrace], sampling: SamplingParams = WARM
) -> float:
    """How far the trainer's log-probabilities are from the sampler's at most, all segments packed
    into one batch."""
    batch, pad = batch_of(loaded, traces), loaded.renderer.image_pad_id
    banned_V = banned_tokens(loaded)
    only_V = torch.ones_like(banned_V)
    only_V[sorted(loaded.renderer.decision.allowed(0) or ())] = False
    banned_CV = torch.where(batch.limited_C[:, None], only_V, banned_V)
    with torch.no_grad():
        logits_CV, targets_C, _ = trained_logits(loaded.model, batch.batch, pad)
        logprobs_CV = token_logprobs(logits_CV, sampling, banned_CV)
    return float(
        (logprobs_CV.gather(1, targets_C[:, None])[:, 0] - batch.old_logprobs_C).abs().max()
    )


def batch_of(loaded: LoadedModel, traces: Sequence[TokenTrace]) -> PolicyBatch:
    advantages = [of_tokens(trace, np.ones(num_turns(trace))) for trace in traces]
    samples = policy_samples(traces, advantages, loaded.renderer.decision)
    return collate_policy(samples, loaded.renderer.image_pad_id)


WINDOWS = {
    "whole": None,
    "window": Window(330),
    "window that keeps little": Window(320, 120, max_questions=1, max_replies=1),
}


@pytest.mark.parametrize(
    ("fixture", "make", "lookahead"),
    [
        ("tiny_loaded", turns, 0),
        ("tiny_loaded", turns, 3),
        ("tiny_token_loaded", turns, 3),
        ("tiny_loaded", mixed_turns, 3),
    ],
)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_a_trainer_gives_each_choice_what_the_sampler_gave_it(
    fixture: str,
    make: Callable[..., list[EnvTurn]],
    window: Window | None,
    lookahead: int,
    request: pytest.FixtureRequest,
) -> None:
    loaded = request.getfixturevalue(fixture)
    shown = make(24, questions=(0, 5, 11))
    if make is mixed_turns and window is not None:  # its turns are longer
        window = replace(window, max_tokens=2 * window.max_tokens)

    async def go(engine: Engine) -> tuple[list[PolicyTurn], TokenTrace]:
        session = engine.open(seed=3)
        session.foresee(shown)
        return await answered(session, shown)

    with Engine(
        loaded, WARM, record=True, window=window, lookahead=lookahead, lockstep=True
    ) as engine:
        said, trace = asyncio.run(go(engine))
    assert (len(trace.segments) > 1) == (window is not None)
    assert same(traced(trace), sampled(said))
    assert trainer_gap(loaded, [trace]) <= 1e-4
    for segment in trace.segments:
        ends = loaded.renderer.image_pad_id, loaded.renderer.merge_size, 0
        assert np.array_equal(
            segment.positions, mrope_positions(segment.token_ids, segment.grids, *ends)[0]
        )
    if window is not None:  # control: what the policy saw is not the whole dialogue
        longest = max(len(segment) for segment in trace.segments)
        assert (
            longest < window.max_tokens + 16 < sum(len(s) for s in trace.segments)
        )  # and one answer


@pytest.mark.parametrize("fixture", ["tiny_loaded", "tiny_token_loaded"])
def test_members_that_saw_other_frames_are_trained_on_what_they_saw(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    """A group with one history: another picture, another size, more frames in a turn, and one that
    stopped early."""
    loaded = request.getfixturevalue(fixture)
    history, common = turns(2), turns(4, seed=1, questions=())
    other = turns(4, seed=2, questions=())
    wide = random_turn(np.random.default_rng(3), 4.0, 1)
    larger = EnvTurn(FrameBatch(wide.frames.pixels.repeat(2, axis=2), wide.frames.pts_s), 4.0, "")
    plans = [
        common,
        [common[0], other[1], *common[2:]],
        [common[0], larger, *common[2:]],
        [common[0], random_turn(np.random.default_rng(5), 4.0, 3), *common[2:]],
        common[:2],
    ]

    async def go(engine: Engine) -> list[tuple[list[PolicyTurn], TokenTrace]]:
        with engine.open() as parent:
            parent.replay(history[0], Silence())
            parent.replay(history[1], Reply("A square."))
            await parent.fill()
            members = [parent.fork(seed=k) for k in range(len(plans))]
        return list(
            await asyncio.gather(
                *(answered(m, plan) for m, plan in zip(members, plans, strict=True))
            )
        )

    with Engine(loaded, WARM, record=True) as engine:
        rollouts = asyncio.run(go(engine))
    for said, trace in rollouts:
        assert same(traced(trace), sampled(said, first_turn=len(history)))  # history is context
    traces = [trace for _, trace in rollouts]
    assert trainer_gap(loaded, traces) <= 1e-4
    shared = batch_of(loaded, traces).batch.num_tokens
    assert shared < sum(len(trace.whole) for trace in traces)  # the history is computed once
    first = traces[1].whole  # control: the frames of another member are the wrong ones
    wrong = TokenTrace((replace(first, frames=traces[0].whole.frames),))
    assert trainer_gap(loaded, [wrong]) > 1e-2


def test_a_written_dialogue_and_the_same_dialogue_replayed_are_the_same_tokens(
    tiny_loaded: LoadedModel,
) -> None:
    shown = turns(3)
    with (
        Engine(tiny_loaded, replace(WARM, temperature=0.0), record=True) as engine,
        engine.open() as session,
    ):
        for turn, action in zip(shown, (Silence(), Reply("A square."), Silence()), strict=True):
            session.replay(turn, action)
        segment = session.trace().whole
        assert segment.token_ids.tolist() == list(session.context_ids)
    assert not segment.loss_mask.any()  # nothing was chosen
    assert len(segment.frames) == 3


def test_nothing_is_recorded_where_nobody_trains(tiny_loaded: LoadedModel) -> None:
    shown = turns(2)
    with Engine(tiny_loaded, WARM) as engine, engine.open() as session:
        asyncio.run(session.respond(shown[0]))
        with pytest.raises(RuntimeError, match="record=True"):
            session.trace()
        state = session._open_state()
        assert state.recorder is None
        cached = engine._frames._encoder_cache.frame(
            shown[0].frames.pixels[0], tiny_loaded.renderer.frame_processor
        )
        assert cached.keeps_patches is False


@pytest.mark.parametrize("fixture", ["tiny_loaded", "tiny_token_loaded"])
def test_cuts_forks_and_turns_that_fail_leave_each_trace_true(
    fixture: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork behind a cut has what was chosen before it. A turn that fails half-way, or does not
    fit, has no part in a trace and no number."""
    loaded = request.getfixturevalue(fixture)
    shown = turns(34, questions=(0, 5, 11))
    for k in range(3, len(shown), 4):  # text alone
        shown[k] = EnvTurn(FrameBatch.empty(), k + 1.0, "And?" * (k % 8 == 3) or "Well?")
    too_large = random_turn(np.random.default_rng(1), 9.0, 40)

    async def go(engine: Engine) -> list[tuple[list[PolicyTurn], TokenTrace]]:
        forward, left = engine._model.forward, [3]

        def fails(rows: Sequence[RowInput]) -> torch.Tensor:
            left[0] -= 1
            if not left[0]:
                raise RuntimeError("no memory")
            return forward(rows)

        with engine.open(seed=3) as session:
            said = [await session.respond(turn) for turn in shown[:20]]
            assert len(session.trace().segments) > 1
            twin = session.fork(seed=4)
            with monkeypatch.context() as patch:
                patch.setattr(engine._model, "forward", fails)
                num_failed = 0
                for turn in shown[20:24]:
                    before = session.trace()
                    with contextlib.suppress(RuntimeError):
                        said.append(await session.respond(turn))
                        continue
                    num_failed += 1
                    assert same(traced(session.trace()), traced(before))
                    said.append(await session.respond(turn))
            assert num_failed == 1
            with pytest.raises(ContextFullError):
                await session.respond(too_large)
            rest, trace = await answered(session, shown[24:])
        others, other = await answered(twin, shown[20:])
        return [([*said, *rest], trace), ([*said[:20], *others], other)]

    with Engine(loaded, WARM, record=True, window=Window(330)) as engine:
        both = asyncio.run(go(engine))
    assert any(turn.forced_close for said, _ in both for turn in said)
    assert both[0][0][20:] != both[1][0][20:]
    for said, trace in both:
        assert len(trace.segments) > 2
        assert same(traced(trace), sampled(said))
        assert trainer_gap(loaded, [trace]) <= 1e-4
        for segment in trace.segments:
            ends = loaded.renderer.image_pad_id, loaded.renderer.merge_size, 0
            assert np.array_equal(
                segment.positions, mrope_positions(segment.token_ids, segment.grids, *ends)[0]
            )


def test_a_silence_that_ends_a_segment_is_its_last_token() -> None:
    """In the token format nothing follows it yet. Its position is the next one."""
    silence, closing, word, header = 7, 8, 9, 10
    decision, recorder = TokenDecision(silence, closing, (header,)), TraceRecorder()
    recorder.end_turn(2, (), (closing, word, closing), (-0.1, -0.2, -0.3), decision)
    recorder.end_turn(7, (), (silence,), (-0.4,), decision)
    ids = [1, 2, closing, header, word, closing, 3]
    segment = recorder.trace(ids, np.arange(7)[None].repeat(3, 0)).whole
    assert segment.token_ids.tolist() == [*ids, silence]
    assert segment.target_ids.tolist() == segment.token_ids.tolist()
    assert segment.positions.tolist() == [list(range(8))] * 3
    assert segment.turn_of.tolist() == [-1, -1, 0, -1, 0, 0, -1, 1]
    assert segment.logprobs.tolist() == pytest.approx([0, 0, -0.1, 0, -0.2, -0.3, 0, -0.4])


LOOKS: list[Action] = [
    Retrieve(2, 4),
    Malformed("Hm.", "no action"),
    Retrieve(5, 5),
    Answer("B"),
]
THOUGHT = "<think>Is it red or blue?</think>"


def looked(
    loaded: LoadedModel, settings: RetrievalSettings, **options: Any
) -> tuple[Episode, TokenTrace]:
    """An episode of looks and an answer, each behind a thought but the one that is malformed: an
    overview, frames twice as wide with marks, and a turn without frames."""
    env = RetrievalEnv(pool_of(), RETRIEVAL_TASK, settings, FakeZoom())
    said = [
        env.format.write(a) if isinstance(a, Malformed) else THOUGHT + env.format.write(a)
        for a in LOOKS
    ]
    ids = [[*loaded.renderer.encode(text), loaded.renderer.im_end_id] for text in said]
    with ScriptedEngine(loaded, ids, LONG, **options) as engine:
        window = (
            engine.window_of_turns(settings.last_turns) if settings.last_turns is not None else None
        )
        session = engine.open(env.system, window=window, action_format=env.format)
        with session:
            episode = asyncio.run(run_episode(env, session, RETRIEVAL_TASK))
            trace = session.trace()
    assert episode.stop is StopReason.ANSWERED
    assert [type(e.acted.action) for e in episode.exchanges] == [type(a) for a in LOOKS]
    assert [e.acted.thought for e in episode.exchanges] == [
        "Is it red or blue?" * (not isinstance(a, Malformed)) for a in LOOKS
    ]
    return episode, trace


FEW = RetrievalSettings(3, 2, max_turns=4, marks="both", thinking="off")


@pytest.mark.parametrize(
    ("last_turns", "max_tokens"),
    [*[(w, None) for w in (None, 0, 1, 2, 3, 9)], *[(w, 1300) for w in (None, 1, 2, 3)]],
)
def test_an_episode_of_looks_is_trained_on_what_was_seen(
    tiny_loaded: LoadedModel, last_turns: int | None, max_tokens: int | None
) -> None:
    """The first turn that lacks one of those before it begins a segment. A window in tokens may cut
    more; then, too, each choice gets the log-probability that the sampler gave it."""
    settings = replace(FEW, last_turns=last_turns)
    window = None if max_tokens is None else Window(max_tokens)
    episode, trace = looked(tiny_loaded, settings, window=window)
    acted = [e.acted for e in episode.exchanges]
    assert same(traced(trace), sampled(acted))
    assert trainer_gap(tiny_loaded, [trace], LONG) <= 1e-4
    if max_tokens is None:
        num_segments = 1 if last_turns is None else max(1, len(acted) - last_turns)
        assert len(trace.segments) == num_segments
        trained = [sorted(set(s.turn_of[s.loss_mask].tolist())) for s in trace.segments]
        first = len(acted) - num_segments + 1
        assert trained == [[*range(first)], *[[k] for k in range(first, len(acted))]]
        frames_of = [len(e.observed.pictures) for e in episode.exchanges]
        for turns_of, segment in zip(trained, trace.segments, strict=True):
            oldest = 0 if last_turns is None else max(0, turns_of[-1] - last_turns)
            assert len(segment.frames) == sum(frames_of[oldest : turns_of[-1] + 1])
    else:
        assert max(len(segment) for segment in trace.segments) <= max_tokens + LONG.max_new_tokens
        assert len(trace.segments) == 3  # two turns at most, so cut as with one turn before it
    if last_turns is not None or max_tokens is not None:
        return
    assert len({frame.grid for frame in trace.whole.frames}) == 2
    swapped = replace(
        trace.whole, frames=trace.whole.frames[:3][::-1] + trace.whole.frames[3:]
    )  # control
    assert trainer_gap(tiny_loaded, [TokenTrace((swapped,))], LONG) > 1e-2


def test_a_segment_without_what_was_seen_gives_other_probabilities(
    tiny_loaded: LoadedModel,
) -> None:
    """The control of the law above: the whole episode is not what the policy saw with a window."""
    cut, whole = (looked(tiny_loaded, replace(FEW, last_turns=w))[1] for w in (1, None))
    assert [c[:2] for c in traced(cut)] == [c[:2] for c in traced(whole)]
    assert not same(traced(cut), traced(whole))
