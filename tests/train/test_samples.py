"""Laws of training samples: they are what the policy sees, and the loss covers what it must say,
nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.engine.engine import Engine
from oncue.errors import DataError
from oncue.render.decision import Lead
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.train.samples import fit, to_sample
from oncue.types import Dialogue, DialogueTurn, EnvTurn, FrameBatch, Silence
from train_support import drawn, patched

CLOCK = Clock(1.0)


def env_turn(turn: DialogueTurn, shown: list[np.ndarray], clock_s: float) -> EnvTurn:
    return EnvTurn(FrameBatch(np.stack(shown), np.full(len(shown), clock_s)), clock_s, turn.text)


def rollout_prompts(
    engine: Engine, dialogue: Dialogue, frames: list[np.ndarray]
) -> list[tuple[int, ...]]:
    """The ids in front of every answer when the dialogue is held with an engine whose answers are
    given."""
    prompts, num_shown = [], 0
    renderer = engine.renderer
    with engine.open(PROACTIVE_SYSTEM) as session:
        for user, answer in zip(dialogue.turns[1::2], dialogue.turns[2::2], strict=True):
            shown = frames[num_shown : num_shown + user.num_frames]
            num_shown += user.num_frames
            observed = env_turn(user, shown, CLOCK.time_of(num_shown))
            part = renderer.user_turn(observed, Lead.CLOSED if prompts else Lead.START)
            prompts.append((*session.context_ids, *part.token_ids.tolist()))
            session.replay(observed, renderer.format.read(answer.text))
    return prompts


def trained_stretches(sample) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (sample.weights_L > 0).astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("index", range(3))
def test_the_ids_before_an_answer_are_those_of_the_rollout(tiny_loaded, index):
    dialogue, frames = drawn(index)
    sample = to_sample(dialogue, frames, tiny_loaded.renderer)
    with Engine(tiny_loaded) as engine:
        prompts = rollout_prompts(engine, dialogue, frames)
        other = [
            replace(t, text="It leaves.") if t.role == "assistant" else t for t in dialogue.turns
        ]
        wrong = rollout_prompts(engine, replace(dialogue, turns=tuple(other)), frames)
    starts = [start for start, _ in trained_stretches(sample)]
    assert [tuple(sample.segment.token_ids[:start].tolist()) for start in starts] == prompts
    assert (
        tuple(sample.segment.token_ids[: starts[-1]].tolist()) != wrong[-1]
    )  # another answer before makes other ids


@pytest.mark.parametrize("fixture", ["tiny_loaded", "tiny_token_loaded"])
def test_each_choice_of_a_rollout_is_trained_where_it_was_made(request, fixture):
    """The rollout's own answers, whatever they are, come back as the targets of the dialogue they
    make."""
    loaded = request.getfixturevalue(fixture)
    dialogue, frames = drawn(2)
    asked = DialogueTurn("user", "And now?", 2)
    dialogue = replace(dialogue, turns=(*dialogue.turns[:3], asked, *dialogue.turns[4:]))
    choices, num_shown = [], 0
    renderer = loaded.renderer
    with Engine(loaded) as engine, engine.open(renderer.proactive_system) as session:
        lead = Lead.START
        for user, answer in zip(dialogue.turns[1::2], dialogue.turns[2::2], strict=True):
            observed = env_turn(user, frames[num_shown : num_shown + user.num_frames], 1.0)
            num_shown += user.num_frames
            before = [*session.context_ids, *renderer.user_turn(observed, lead).token_ids.tolist()]
            chosen = session.replay(observed, renderer.format.read(answer.text)).token_ids
            for k, choice in enumerate(chosen):
                choices.append((tuple(before), choice))
                before += renderer.decision.next_input(chosen[: k + 1]) or ()
            lead = renderer.decision.lead_after(chosen)
    sample = to_sample(dialogue, frames, renderer)
    places = np.flatnonzero(sample.weights_L).tolist()
    assert [
        (tuple(sample.segment.token_ids[:p].tolist()), int(sample.segment.target_ids[p]))
        for p in places
    ] == choices
    followed = [int(sample.segment.token_ids[p]) for p in places] == [
        choice for _, choice in choices
    ]
    assert followed == (fixture == "tiny_loaded")  # in the token format a question followed silence


def test_the_loss_covers_the_answers_and_their_closing_tokens(tiny_loaded):
    dialogue, frames = drawn(1)
    renderer = tiny_loaded.renderer
    sample = to_sample(dialogue, frames, renderer)
    said = [
        sample.segment.token_ids[start:end].tolist() for start, end in trained_stretches(sample)
    ]
    wanted = [t.text for t in dialogue.turns if t.role == "assistant"]
    assert {"NO REPLY"} < set(wanted)
    assert said == [[*renderer.encode(text), renderer.im_end_id] for text in wanted]
    assert set(sample.weights_L.tolist()) == {0.0, 1.0}


def test_history_is_not_trained(tiny_loaded):
    dialogue, frames = drawn(1)
    flags = list(dialogue.trained)
    flags[2] = False
    sample = to_sample(replace(dialogue, trained=tuple(flags)), frames, tiny_loaded.renderer)
    assert len(trained_stretches(sample)) == sum(dialogue.trained) - 1


def test_silence_weight_is_that_of_silent_turns_alone(tiny_loaded):
    dialogue, frames = drawn(1)
    turns = [t for t in dialogue.turns if t.role == "assistant"]
    plain = to_sample(dialogue, frames, tiny_loaded.renderer)
    light = to_sample(dialogue, frames, tiny_loaded.renderer, silence_weight=0.25)
    for turn, (start, end) in zip(turns, trained_stretches(plain), strict=True):
        expected = 0.25 if turn.text == "NO REPLY" else 1.0
        assert set(light.weights_L[start:end].tolist()) == {expected}
    assert not light.weights_L[plain.weights_L == 0].any()


def test_silence_weight_is_that_of_the_silent_choice_alone_in_the_token_format(tiny_token_loaded):
    dialogue, frames = drawn(1)
    renderer = tiny_token_loaded.renderer
    plain = to_sample(dialogue, frames, renderer)
    light = to_sample(dialogue, frames, renderer, silence_weight=0.25)
    num_silent = sum(isinstance(renderer.format.read(t.text), Silence) for t in dialogue.turns)
    silent = (plain.weights_L > 0) & (plain.segment.target_ids == renderer.vision_start_id)
    assert silent.sum() == num_silent > 0
    assert np.array_equal(light.weights_L, np.where(silent, 0.25, plain.weights_L))
    off = to_sample(dialogue, frames, renderer, silence_weight=0.0)
    assert off.weights_L.sum() == plain.weights_L.sum() - num_silent


def test_fit_cuts_at_whole_exchanges_and_keeps_frames_in_step(tiny_loaded):
    dialogue, frames = drawn(2)
    renderer = tiny_loaded.renderer
    shown = patched(tiny_loaded, frames)
    whole = len(renderer.dialogue(dialogue, shown).whole)
    assert fit(dialogue, shown, renderer, whole) == dialogue
    for limit in range(whole - 1, whole - 90, -17):
        kept = fit(dialogue, shown, renderer, limit)
        sample = to_sample(kept, shown[: kept.num_frames], renderer)
        assert kept.turns == dialogue.turns[: len(kept.turns)]
        assert kept.turns[-1].role == "assistant"
        assert len(sample.segment.token_ids) <= limit
        assert len(sample.segment.grids) == kept.num_frames
        longer = dialogue.turns[: len(kept.turns) + 2]
        more = replace(dialogue, turns=longer, trained=dialogue.trained[: len(longer)])
        assert (
            len(renderer.dialogue(more, shown[: more.num_frames]).whole) > limit
        )  # one more would not fit
    with pytest.raises(DataError, match="max_tokens = 20"):
        fit(dialogue, shown, renderer, 20)


def test_fit_drops_a_turn_that_nobody_answers_first(tiny_loaded):
    dialogue, frames = drawn(2)
    asked = Dialogue("x", (*dialogue.turns, DialogueTurn("user", "And now?")))
    shown = patched(tiny_loaded, frames)
    room = len(tiny_loaded.renderer.dialogue(dialogue, shown).whole)
    assert fit(asked, shown, tiny_loaded.renderer, room).turns == dialogue.turns
    assert fit(asked, shown, tiny_loaded.renderer, room + 50).turns == asked.turns
