"""Sessions of one engine may speak other grammars than that of streams."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oncue.engine.engine import Engine, SamplingParams
from oncue.env.retrieval import RetrievalEnv
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel
from oncue.render.actions import TextFormat
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.retrieval_format import RetrievalFormat
from oncue.rollout import run_episode
from oncue.types import Answer, EnvTurn, Malformed, Reply, Retrieve, Silence, StopReason
from policy_support import ScriptedEngine
from retrieval_support import RETRIEVAL_TASK, pool_of
from tiny_model import mixed_turn

LONG = SamplingParams(max_new_tokens=40)
GRAMMAR = RetrievalFormat(7, letters="AB")
ASKED = [EnvTurn("Which box?", k + 1.0) for k in range(3)]


def ids_of(loaded: LoadedModel, *texts: str) -> list[list[int]]:
    return [[*loaded.renderer.encode(text), loaded.renderer.im_end_id] for text in texts]


def test_each_session_reads_answers_by_its_own_grammar(tiny_loaded: LoadedModel) -> None:
    texts = ["NO REPLY", "<retrieve>2,4</retrieve>", "<answer>B</answer>"]

    async def go(engine: Engine) -> list[list[object]]:
        found = []
        for grammar in (GRAMMAR, None, TextFormat("<answer>B</answer>")):
            with engine.open(action_format=grammar) as session, session.fork() as twin:
                found.append([(await twin.respond(turn)).action for turn in ASKED])
        return found

    with ScriptedEngine(tiny_loaded, ids_of(tiny_loaded, *texts), LONG) as engine:
        tags, plain, other = asyncio.run(go(engine))
    assert tags == [
        GRAMMAR.read("NO REPLY"),
        Retrieve(2, 4),
        Answer("B"),
    ]
    assert plain == [Silence(), Reply(texts[1]), Reply(texts[2])]
    assert other == [Reply("NO REPLY"), Reply(texts[1]), Silence()]


def test_turns_that_went_ahead_are_answered_in_the_grammar_of_their_session(
    tiny_loaded: LoadedModel,
) -> None:
    """What is drafted is a guess at the ids: it may be right where it is no silence. Their order
    stays, too."""
    texts = ["NO REPLY", "NO REPLY", "NO REPLY", "<answer>B</answer>"]
    random = np.random.default_rng(0)
    turns = [mixed_turn(random, k + 1.0, "And?") for k in range(4)]

    async def go(lookahead: int) -> tuple[list[object], tuple[int, ...]]:
        ids = ids_of(tiny_loaded, *texts)
        engine = ScriptedEngine(tiny_loaded, ids, LONG, lookahead=lookahead, lockstep=True)
        with engine, engine.open(action_format=GRAMMAR) as session:
            session.foresee(turns)
            return [(await session.respond(turn)).action for turn in turns], session.context_ids

    ahead, plain = (asyncio.run(go(lookahead)) for lookahead in (3, 0))
    assert ahead == plain
    assert [type(action) for action in plain[0]] == [Malformed] * 3 + [Answer]


def test_history_is_written_in_the_grammar_of_the_session(tiny_loaded: LoadedModel) -> None:
    with Engine(tiny_loaded) as engine, engine.open(action_format=GRAMMAR) as session:
        replayed = session.replay(ASKED[0], Retrieve(2, 4))
        assert list(replayed.token_ids) == ids_of(tiny_loaded, "<retrieve>2,4</retrieve>")[0]
        with pytest.raises(ValueError, match="not Silence"):
            session.replay(ASKED[1], Silence())
    with (
        Engine(tiny_loaded) as engine,
        engine.open() as session,
        pytest.raises(ValueError, match="no Retrieve"),
    ):
        session.replay(ASKED[0], Retrieve(2, 4))


def test_a_model_that_finds_no_action_runs_out_of_budget(tiny_loaded: LoadedModel) -> None:
    with (
        Engine(tiny_loaded, SamplingParams(max_new_tokens=3)) as engine,
        engine.open(action_format=GRAMMAR) as session,
    ):
        env = RetrievalEnv(pool_of(), RETRIEVAL_TASK)
        episode = asyncio.run(run_episode(env, session, RETRIEVAL_TASK))
    assert (episode.stop, len(episode.exchanges)) == (StopReason.OUT_OF_BUDGET, 3)
    assert all(isinstance(e.acted.action, Malformed) for e in episode.exchanges)


def test_a_grammar_that_does_not_go_with_the_model_or_the_sampling_is_refused(
    tiny_loaded: LoadedModel, tiny_model_folder: Path
) -> None:
    by_token = QwenVLRenderer.from_pretrained(tiny_model_folder, decision_name="token")
    with Engine(replace(tiny_loaded, renderer=by_token)) as engine:
        with pytest.raises(ConfigError, match="has no silence"):
            engine.open(action_format=GRAMMAR)
        engine.open(action_format=TextFormat("nothing")).close()
    with Engine(tiny_loaded, SamplingParams(reply_bias=1.0)) as engine:
        with pytest.raises(ConfigError, match="reply bias"):
            engine.open(action_format=GRAMMAR)
        engine.open().close()
        assert engine.num_open == 0
