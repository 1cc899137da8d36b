"""Laws of an update with a critic, on questions about videos."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ppo_runs import WORDY, config

from oncue.data.retrieval_examples import RetrievalRows
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel, load_model
from oncue.policy.open_policy import LocalModel, open_policy
from oncue.train.rl.crediting import credited
from oncue.train.rl.critic_settings import CriticKind, CriticSettings
from oncue.train.rl.groups import Group, roll_out
from oncue.train.rl.optimizing import clip_gradients
from oncue.train.rl.policy_passes import PolicyPasses
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.rl.settings import PpoConfig
from oncue.train.rl.value_loss import value_loss
from tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def scored(tiny_model_folder: Path, rows: RetrievalRows) -> list[Group]:
    """Groups with scores of the model as it is, as a step has them before credit."""
    return rolled(load_model(tiny_model_folder), config(tiny_model_folder, rows))


def rolled(loaded: LoadedModel, settings: PpoConfig) -> list[Group]:
    """Groups with scores, as a step has them before credit."""
    examples = [settings.examples.item(i, 0, None, 1) for i in range(2)]  # type: ignore[arg-type]
    model = LocalModel(loaded, sampling=settings.sampling, lockstep=True, record=True)
    with open_policy(model) as policy:
        groups = asyncio.run(roll_out(policy.engine, examples, settings.group_size, (0,)))

    async def score(group: Group) -> Group:
        return replace(group, scores=tuple([await WORDY(e) for e in group.episodes]))

    return [asyncio.run(score(group)) for group in groups]


def trainer_of(settings: PpoConfig, folder: Path) -> PolicyTrainer:
    return PolicyTrainer(settings, load_model(settings.model), folder)


def without_advantages(groups: list[Group]) -> list[Group]:
    return [
        replace(g, advantages=tuple(tuple(0 * a for a in of) for of in g.advantages))
        for g in groups
    ]


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("kind", ["head", "detached_head", "model"])
def test_at_the_first_update_the_policy_is_the_sampler_and_the_critic_what_it_expected(
    kind: CriticKind,
    tiny_model_folder: Path,
    rows: RetrievalRows,
    scored: list[Group],
    tmp_path: Path,
) -> None:
    settings = config(tiny_model_folder, rows, kind)
    trainer = trainer_of(settings, tmp_path)
    torch.nn.init.normal_(trainer.critic.head.weight, std=0.1)  # type: ignore[union-attr]
    groups, logged = credited(scored, trainer, settings)
    made = trainer.update(groups, 0)
    assert made["max_ratio_gap"] < 1e-4
    assert made["value_clip_frac"] == 0
    errors = [
        (v - r)[s.loss_mask] ** 2
        for group in groups
        for trace, values, returns in zip(group.traces, group.values, group.returns, strict=True)
        for s, v, r in zip(trace.segments, values, returns, strict=True)
    ]
    assert made["value_loss"] == pytest.approx(0.5 * np.concatenate(errors).mean(), rel=1e-4)
    assert made["critic_grad_norm"] > 0
    assert len({len(trace.segments) for group in groups for trace in group.traces} | {1}) > 1
    assert "kl_from_start" not in logged  # there is no reference


def test_a_new_critic_expects_nothing_and_whitened_advantages_have_mean_0(
    tiny_model_folder: Path, rows: RetrievalRows, scored: list[Group], tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows)
    trainer = trainer_of(settings, tmp_path)
    groups, logged = credited(scored, trainer, settings)
    chosen = np.concatenate(
        [
            gained[s.loss_mask]
            for group in groups
            for trace, of_trace in zip(group.traces, group.advantages, strict=True)
            for s, gained in zip(trace.segments, of_trace, strict=True)
        ]
    )
    assert logged["value_mean"] == 0
    assert abs(chosen.mean()) < 1e-5
    assert chosen.std(ddof=1) == pytest.approx(1, abs=1e-4)


def test_the_critic_learns_what_episodes_earn(
    tiny_model_folder: Path, rows: RetrievalRows, scored: list[Group], tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, "detached_head", learning_rate=1e-9)
    settings = replace(settings, critic=replace(settings.critic, learning_rate=0.1))
    trainer = trainer_of(settings, tmp_path)
    losses = []
    for step in range(6):
        groups, _ = credited(scored, trainer, settings)
        losses.append(trainer.update(groups, step)["value_loss"])
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(("kind", "moves"), [("head", True), ("detached_head", False)])
def test_only_a_head_that_is_not_detached_moves_the_policy(
    kind: CriticKind,
    moves: bool,
    tiny_model_folder: Path,
    rows: RetrievalRows,
    scored: list[Group],
    tmp_path: Path,
) -> None:
    settings = config(tiny_model_folder, rows, kind)
    trainer = trainer_of(settings, tmp_path)
    torch.nn.init.normal_(trainer.critic.head.weight, std=0.1)  # type: ignore[union-attr]
    groups, _ = credited(scored, trainer, settings)
    before = weights(trainer.loaded.model)
    trainer.update(without_advantages(groups), 0)
    after = weights(trainer.loaded.model)
    assert moves != all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_in_warm_up_the_critic_alone_learns(
    tiny_model_folder: Path, rows: RetrievalRows, scored: list[Group], tmp_path: Path
) -> None:
    critic = CriticSettings("head", learning_rate=1e-2, warmup_steps=1)
    settings = config(tiny_model_folder, rows, critic=critic, weight_decay=0.1)
    trainer = trainer_of(settings, tmp_path)
    groups, _ = credited(scored, trainer, settings)
    before, head = weights(trainer.loaded.model), weights(trainer.critic.head)  # type: ignore[union-attr]
    trainer.update(groups, 0)
    for was, now in zip(before, weights(trainer.loaded.model), strict=True):
        assert torch.equal(was, now)
    assert not torch.equal(head[0], weights(trainer.critic.head)[0])  # type: ignore[union-attr]
    # AdamW knows nothing of the policy yet, so its first step is not too long
    assert not trainer.optimizer.state.keys() & set(trainer.parameters)
    trainer.update(groups, 1)
    after = weights(trainer.loaded.model)
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_reward_loses_what_a_token_gained_on_the_model_that_the_run_started_from(
    tiny_model_folder: Path, rows: RetrievalRows, scored: list[Group], tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, kl_in_reward=0.5)
    trainer = trainer_of(settings, tmp_path)
    start, at_first = credited(scored, trainer, settings)
    assert abs(at_first["kl_from_start"]) < 1e-4
    trainer.update(start, 0)
    again = rolled(trainer.loaded, settings)
    moved, logged = credited(again, trainer, settings)
    free, _ = credited(again, trainer, replace(settings, kl_in_reward=0.0))
    assert abs(logged["kl_from_start"]) > 1e-3
    assert not np.array_equal(moved[0].returns[0][0], free[0].returns[0][0])


def test_a_critic_that_reads_otherwise_is_refused(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    other = build_tiny_model(tmp_path / "other", family="qwen3_vl")
    settings = config(tiny_model_folder, rows, critic=CriticSettings("model", str(other)))
    with pytest.raises(ConfigError, match=r"critic\.model must be a model of the policy's family"):
        trainer_of(settings, tmp_path)


def test_a_sharded_run_that_fails_before_its_update_meets_nobody_to_save(
    tiny_model_folder: Path,
    rows: RetrievalRows,
    scored: list[Group],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> Any:
        raise MemoryError

    trainer = trainer_of(config(tiny_model_folder, rows), tmp_path)
    monkeypatch.setattr(PolicyPasses, "expected", fails)
    for is_sharded in (True, False):
        trainer.is_sharded = is_sharded
        with pytest.raises(MemoryError):
            trainer.expected(scored)
        assert trainer.may_save != is_sharded


def test_parts_of_a_critic_are_clipped_as_one() -> None:
    def parts() -> list[torch.nn.Parameter]:
        made = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
        for number, parameter in enumerate(made[:2]):
            parameter.grad = torch.full((2,), 3.0 + number)
        return made

    for max_norm in (1.0, 100.0):
        whole, apart = parts(), parts()
        norm = clip_gradients([whole], max_norm)
        assert clip_gradients([apart[:1], apart[1:]], max_norm) == pytest.approx(norm)
        for one, other in zip(whole[:2], apart[:2], strict=True):
            torch.testing.assert_close(one.grad, other.grad)


def test_a_value_that_leaves_the_range_costs_what_the_clipped_one_does() -> None:
    old, returns = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, -1.0])
    values = torch.tensor([0.4, 0.9, 0.2], requires_grad=True)
    made = value_loss(values, old, returns, 0.5)
    made.loss.backward()
    assert made.loss.item() == pytest.approx(0.5 * (0.36 + 0.25 + 1.44))
    assert made.num_clipped == 1
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([-0.6, 0.0, 1.2])
