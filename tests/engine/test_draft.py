"""Laws of the draft: it changes no token, its cost is one forward, and sampling with it follows the
distribution."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from oncue.clock import Clock
from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.sampler import Sampler
from oncue.model.loading import LoadedModel, load_model
from oncue.types import EnvTurn, FrameBatch, Silence
from oncue.world.clip import make_clip
from policy_support import hold, say

WARM = SamplingParams(temperature=1.5, max_new_tokens=6, seed=3)


@pytest.fixture(scope="module")
def mini() -> LoadedModel:
    """The bundled model: silent in most turns, and not in all."""
    return load_model("mini", device="cpu")


def clip_turns(index: int) -> list[EnvTurn]:
    """A held-out clip as a watcher sees it, asked about everything, with a glitch of noise now and
    then."""
    random = np.random.default_rng(index)
    frames = make_clip("shapes", "val", index, duration_s=(30.0, 30.0), mean_gap_s=1.0).grid_frames(
        Clock(1.0)
    )
    turns = []
    for k, pixels in enumerate(frames):
        shown = random.integers(0, 255, pixels.shape, np.uint8) if k % 11 == 10 else pixels
        text = "Tell me everything that happens." if k == 0 else ""
        turns.append(EnvTurn(FrameBatch(shown[None], np.array([k + 1.0])), k + 1.0, text))
    return turns


@pytest.mark.parametrize(
    "sampling",
    [SamplingParams(max_new_tokens=6), WARM, SamplingParams(max_new_tokens=2)],
    ids=["greedy", "sampled", "cut short"],
)
def test_the_draft_changes_no_token(mini: LoadedModel, sampling: SamplingParams) -> None:
    turns = [turn for index in range(2) for turn in clip_turns(index)]
    plain, context = say(Engine(mini, sampling, draft=False), turns, 5)
    drafted, same_context = say(Engine(mini, sampling), turns, 5)
    assert [a.token_ids for a in drafted] == [a.token_ids for a in plain]
    assert [p for a in drafted for p in a.logprobs] == pytest.approx(
        [p for a in plain for p in a.logprobs], abs=1e-4
    )
    assert context == same_context
    silent = sum(isinstance(a.action, Silence) for a in plain)
    if sampling.max_new_tokens > 2:
        assert 10 < silent < 55  # accepted and rejected drafts were both seen


@pytest.mark.parametrize("draft", [True, False])
def test_one_random_number_is_spent_per_token_chosen(mini: LoadedModel, draft: bool) -> None:
    """None for choices that were prepared behind a draft and never made; none for tokens the engine
    closed with."""

    async def run() -> None:
        with Engine(mini, WARM, draft=draft) as engine, engine.open(seed=5) as session:
            fresh = torch.Generator()
            fresh.set_state(session._open_state().generator.get_state())
            answers = await hold(session, clip_turns(0))
            num_chosen = sum(len(answer.token_ids) - answer.forced_close for answer in answers)
            assert {True, False} == {isinstance(answer.action, Silence) for answer in answers}
            torch.rand(num_chosen, dtype=torch.float64, generator=fresh)
            assert torch.equal(session._open_state().generator.get_state(), fresh.get_state())

    asyncio.run(run())


def test_a_silent_turn_is_one_forward_and_plain_decoding_needs_three(mini: LoadedModel) -> None:
    turns, sampling = clip_turns(0), SamplingParams(max_new_tokens=6)

    def forwards(*, draft: bool) -> list[int]:
        engine, count, per_turn = Engine(mini, sampling, draft=draft), [0], []
        advance = engine._steps._advance

        def counted(answers: Any) -> Any:
            count[0] += bool(answers)
            return advance(answers)

        engine._steps._advance = counted  # type: ignore[method-assign]

        async def go() -> None:
            with engine.open() as session:
                for turn in turns:
                    count[0] = 0
                    answer = await session.respond(turn)
                    per_turn.append((count[0], answer))

        asyncio.run(go())
        assert all(n == 1 or not isinstance(a.action, Silence) or not draft for n, a in per_turn)
        return [n for n, answer in per_turn if isinstance(answer.action, Silence)]

    drafted, plain = forwards(draft=True), forwards(draft=False)
    assert drafted
    assert set(drafted) == {1}
    assert set(plain) == {len(mini.renderer.silence_ids)} == {3}


def first_answers(num: int, engine: Engine) -> Counter[tuple[int, ...]]:
    """The answers of `num` sessions with seeds of their own to the same first turn, by their first
    token."""
    turn = clip_turns(0)[0]

    async def go() -> list[tuple[int, ...]]:
        sessions = [engine.open() for _ in range(num)]
        answers = await asyncio.gather(*(session.respond(turn) for session in sessions))
        for session in sessions:
            session.close()
        return [answer.token_ids[:1] for answer in answers]

    return Counter(asyncio.run(go()))


def chi_square(
    one: Counter[tuple[int, ...]], other: Counter[tuple[int, ...]], num_expected: int = 10
) -> float:
    """Two-sample chi-square over the number of degrees of freedom; rare answers are counted
    together."""
    common = [key for key in one | other if one[key] + other[key] >= 2 * num_expected]
    cells = [(one[key], other[key]) for key in common]
    cells.append((one.total() - sum(a for a, _ in cells), other.total() - sum(b for _, b in cells)))
    cells = [(a, b) for a, b in cells if a + b]
    return sum((a - b) ** 2 / (a + b) for a, b in cells) / max(1, len(cells) - 1)


class CarelessChooser(Sampler):
    """The mistake the test is for: a draft that is accepted whenever its token is the likeliest."""

    def choose(self, answers: Any, logits_RV: torch.Tensor) -> None:
        logits_RV, first = logits_RV.clone(), 0
        for answer in answers:
            if (
                answer.draft
                and not answer.chosen
                and int(logits_RV[first].argmax()) == answer.draft[0]
            ):
                logits_RV[first, answer.draft[0]] += 50
            first += answer.num_asked
        super().choose(answers, logits_RV)


def test_sampling_with_a_draft_follows_the_distribution(mini: LoadedModel) -> None:
    num = 600
    sampling = SamplingParams(temperature=2.5, max_new_tokens=3, seed=1)
    other_numbers = SamplingParams(temperature=2.5, max_new_tokens=3, seed=2)
    plain = first_answers(num, Engine(mini, sampling, draft=False))
    drafted = first_answers(num, Engine(mini, other_numbers))
    assert len(plain) > 3
    assert chi_square(plain, drafted) < 2.0
    careless = Engine(mini, other_numbers)
    careless._steps._sampler = CarelessChooser(mini, other_numbers)
    wrong = first_answers(num, careless)
    assert chi_square(plain, wrong) > 4.0  # control


def test_rows_whose_drafts_are_accepted_and_rejected_share_a_forward(mini: LoadedModel) -> None:
    """Batches in which some drafts are accepted and others are not give every session its own
    numbers."""
    streams = [clip_turns(k)[:12] for k in range(5)]
    alone = [say(Engine(mini, WARM), turns, k)[0] for k, turns in enumerate(streams)]

    async def together() -> list[list[Any]]:
        engine = Engine(mini, WARM)
        sessions = [engine.open(seed=k) for k in range(5)]
        return list(
            await asyncio.gather(*(hold(s, t) for s, t in zip(sessions, streams, strict=True)))
        )

    for apart, beside in zip(alone, asyncio.run(together()), strict=True):
        assert [a.token_ids for a in apart] == [a.token_ids for a in beside]
        ours, theirs = ([p for a in answers for p in a.logprobs] for answers in (apart, beside))
        assert ours == pytest.approx(theirs, abs=1e-4)
    kinds = {isinstance(a.action, Silence) for answers in alone for a in answers}
    assert kinds == {True, False}
