"""Laws of GRPO in the token decision format: a decision is trained in the distribution it was drawn
from, silence by a token that stays nowhere too."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oncue.clock import Clock
from oncue.data.examples import WorldExamples
from oncue.engine.engine import Engine, SamplingParams
from oncue.model.loading import LoadedModel, load_model
from oncue.rewards.proactive import TERMS
from oncue.scoring.score import Score
from oncue.train.rl.advantage import GroupCredit, num_turns, of_tokens
from oncue.train.rl.groups import Group, roll_out
from oncue.train.rl.loop import GrpoConfig, train_grpo
from oncue.train.rl.policy_samples import PolicySample, collate_policy, policy_samples
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.types import Episode, PolicyTurn, Reply, Silence

CLOCK = Clock(1.0)
WARM = SamplingParams(temperature=1.3, top_k=12, max_new_tokens=5)
EXAMPLES = WorldExamples(num_turns=(4, 5), history_turns=(2, 4), mean_gap_s=0.5)


@pytest.fixture(scope="module")
def folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, which says in its folder that it decides by a token."""
    made = shutil.copytree(tiny_model_folder, tmp_path_factory.mktemp("token") / "model")
    (made / "oncue.json").write_text(json.dumps({"decision_format": "token"}))
    return made


def config(model: Path, **changes: Any) -> GrpoConfig:
    start = GrpoConfig(
        model=str(model),
        examples=EXAMPLES,
        num_steps=1,
        prompts_per_step=2,
        group_size=3,
        sampling=WARM,
        learning_rate=1e-3,
        micro_batch_size=3,
        gradient_checkpointing=False,
        num_workers=0,
    )
    return replace(start, **changes)


def rolled(
    loaded: LoadedModel, sampling: SamplingParams = WARM, group_size: int = 3, num_groups: int = 2
) -> list[Group]:
    examples = [EXAMPLES.item(i, 0, CLOCK, 1) for i in range(num_groups)]
    with Engine(loaded, sampling, lockstep=True, record=True) as engine:
        return asyncio.run(roll_out(engine, examples, group_size, (0,)))


def sampled(episode: Episode) -> list[PolicyTurn]:
    return [e.acted for e in episode.exchanges if e.acted.sampled]


def num_spoken(episode: Episode) -> int:
    """Turns that decided to speak; what they say may have no words."""
    return sum(not isinstance(turn.action, Silence) for turn in sampled(episode))


def samples_of(loaded: LoadedModel, group: Group) -> list[PolicySample]:
    advantages = group.advantages or [
        of_tokens(trace, np.ones(num_turns(trace))) for trace in group.traces
    ]
    return policy_samples(group.traces, advantages, loaded.renderer.decision)


def logprobs(trainer: PolicyTrainer, samples: list[PolicySample]) -> tuple[np.ndarray, np.ndarray]:
    """What the trainer gives each trained choice of these samples, and what the sampler gave it."""
    batch = collate_policy(samples, trainer.loaded.renderer.image_pad_id)
    with torch.no_grad():
        logprobs_CV, targets_C = trainer._passes._logprobs(trainer._root, batch)
    return logprobs_CV.gather(1, targets_C[:, None])[:, 0].numpy(), batch.old_logprobs_C.numpy()


@pytest.mark.parametrize(
    "sampling",
    [WARM, replace(WARM, top_k=0, top_p=0.9, temperature=0.8), replace(WARM, max_new_tokens=1)],
    ids=["cut to k", "cut to mass", "decisions alone"],
)
def test_trainer_and_sampler_give_every_choice_the_same(
    folder: Path, sampling: SamplingParams
) -> None:
    loaded = load_model(folder, "cpu")
    groups = rolled(loaded, sampling)
    trainer = PolicyTrainer(config(folder, sampling=sampling), loaded, folder)
    turns = [turn for group in groups for episode in group.episodes for turn in sampled(episode)]
    assert {turn.forced_close for turn in turns} == {True, False}
    assert {isinstance(turn.action, Silence) for turn in turns} == {True, False}
    samples = [sample for group in groups for sample in samples_of(loaded, group)]
    assert (
        len({len(sample.sample.segment.frames) for sample in samples}) == 2
    )  # groups that show unequally many frames
    ours, theirs = logprobs(trainer, samples)
    assert len(ours) == sum(len(turn.token_ids) - turn.forced_close for turn in turns)
    assert ours == pytest.approx(theirs, abs=1e-4)

    unlimited = [replace(sample, limited_L=np.zeros_like(sample.limited_L)) for sample in samples]
    assert (
        np.abs(logprobs(trainer, unlimited)[0] - theirs).max() > 0.1
    )  # control: every id, or no silence at all


def test_the_sample_trains_what_was_drawn_and_knows_which_of_it_was_a_decision(
    folder: Path,
) -> None:
    loaded = load_model(folder, "cpu")
    renderer = loaded.renderer
    endings = set()
    for group in rolled(loaded, group_size=4, num_groups=4):
        for episode, made in zip(group.episodes, samples_of(loaded, group), strict=True):
            sample, drawn, decisions = made.sample, [], []
            for turn in sampled(episode):
                chosen = turn.token_ids[: len(turn.token_ids) - turn.forced_close]
                drawn += chosen
                decisions += [True, *[False] * (len(chosen) - 1)]
            places = sample.trained_C
            assert sample.segment.target_ids[places].tolist() == drawn
            assert made.limited_L[places].tolist() == decisions
            assert made.limited_L.sum() == len(sampled(episode))
            # The last token is what the last turn leaves behind; for silence, which leaves none,
            # the choice itself.
            before, last = sampled(episode)[-2:]
            endings.add((type(before.action), type(last.action)))
            assert (
                sample.segment.token_ids[-1]
                == (renderer.decision.kept(last.token_ids) or last.token_ids)[-1]
            )
            assert (places[-1] == len(sample.segment) - 1) == (not last.forced_close)
    assert {(Silence, Reply), (Reply, Silence)} <= endings


def test_with_a_reply_bias_they_would_differ_at_the_decisions_alone(folder: Path) -> None:
    """Why GrpoConfig refuses one."""
    loaded = load_model(folder, "cpu")
    (group,) = rolled(loaded, replace(WARM, reply_bias=1.0), num_groups=1)
    samples = samples_of(loaded, group)
    ours, theirs = logprobs(PolicyTrainer(config(folder), loaded, folder), samples)
    limited = np.concatenate([sample.limited_L[sample.sample.trained_C] for sample in samples])
    assert ours[~limited] == pytest.approx(theirs[~limited], abs=1e-4)
    assert (np.abs(ours - theirs)[limited] > 1e-3).all()


def by_turns_spoken(groups: list[Group], sign: float = 1.0) -> list[Group]:
    """Judged: the more turns that speak the better; with `sign` -1 the worse."""
    judged = []
    for group in groups:
        counts = np.array([num_spoken(episode) for episode in group.episodes], float)
        assert np.ptp(counts) > 0
        scores = [Score((sign * count,), dict.fromkeys(TERMS, 0.0)) for count in counts.tolist()]
        judged.append(group.credited(scores, GroupCredit(scale_by_deviation=False)))
    return judged


def test_an_update_from_decisions_alone_moves_the_logits_of_silence_and_reply_alone(
    folder: Path,
) -> None:
    """A decision is a choice between two ids: no other one has a gradient, and a forced close has
    none either."""
    decisions = replace(WARM, max_new_tokens=1)
    loaded = load_model(folder, "cpu")
    start_VE = loaded.model.lm_head.weight.detach().clone()
    groups = by_turns_spoken(rolled(loaded, decisions, group_size=4))
    trainer = PolicyTrainer(config(folder, sampling=decisions, frozen=("model.*",)), loaded, folder)
    logged = trainer.update(groups, 0)
    assert logged["max_ratio_gap"] <= 1e-4
    assert logged["num_choices"] == sum(len(sampled(e)) for g in groups for e in g.episodes)
    moved = (loaded.model.lm_head.weight != start_VE).any(1).nonzero()[:, 0].tolist()
    assert set(moved) == set(loaded.renderer.decision.allowed(0) or ())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_update_raises_what_did_better_silence_as_well_as_replies(
    folder: Path, sign: float
) -> None:
    loaded = load_model(folder, "cpu")
    groups = by_turns_spoken(rolled(loaded, group_size=4), sign)
    trainer = PolicyTrainer(config(folder), loaded, folder)
    samples = [sample for group in groups for sample in samples_of(loaded, group)]
    targets = np.concatenate(
        [sample.sample.segment.target_ids[sample.sample.trained_C] for sample in samples]
    )
    limited = np.concatenate([sample.limited_L[sample.sample.trained_C] for sample in samples])
    spoken = limited & (targets == loaded.renderer.im_end_id)
    before, _ = logprobs(trainer, samples)
    assert trainer.update(groups, 0)["max_ratio_gap"] <= 1e-4
    after, _ = logprobs(trainer, samples)
    assert 0 < spoken.sum() < limited.sum()
    assert sign * (after - before)[spoken].mean() > 1e-3
    assert sign * (after - before)[limited & ~spoken].mean() < -1e-3


def test_a_run_learns_to_speak_in_the_format_of_its_model(folder: Path, tmp_path: Path) -> None:
    async def reward(episode: Episode) -> Score:
        return Score((float(num_spoken(episode)),), dict.fromkeys(TERMS, 0.0))

    told: list[dict[str, Any]] = []
    settings = config(folder, num_steps=4, learning_rate=3e-3)
    final = train_grpo(settings, reward, tmp_path / "run", resume=False, report=told.append)
    assert all(row["max_ratio_gap"] <= 1e-4 for row in told)
    assert json.loads((final / "oncue.json").read_text()) == {"decision_format": "token"}
    trained = load_model(final, "cpu")
    assert trained.renderer.decision_name == "token"
    counts = [
        sum(num_spoken(e) for g in rolled(loaded, num_groups=3) for e in g.episodes)
        for loaded in (load_model(folder, "cpu"), trained)
    ]
    assert counts[1] > counts[0]
