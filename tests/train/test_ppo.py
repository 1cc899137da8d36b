"""Laws of PPO on questions about videos: the critic, the credit, and that a run repeats."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oncue import cli
from oncue.data.retrieval_examples import RetrievalRows
from oncue.engine.sampling import SamplingParams
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel, load_model
from oncue.policy.open_policy import LocalModel, open_policy
from oncue.records.retrieval_rollouts import read_retrieval_rollouts
from oncue.rewards.bootstrapping import Bootstrapping, BootstrappingSettings
from oncue.rewards.retrieval import RetrievalReward, RetrievalRewardSettings
from oncue.scoring.score import Score
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.rl.crediting import credited
from oncue.train.rl.critic import HEAD_FILE
from oncue.train.rl.critic_settings import CriticKind, CriticSettings, GaeSettings
from oncue.train.rl.groups import Group, roll_out
from oncue.train.rl.loop import train_grpo
from oncue.train.rl.make_reward import frames_by
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.rl.value_loss import value_loss
from oncue.types import Episode
from oncue.video.writer import write_video

LOOK = RetrievalSettings(first_frames=3, frames_per_look=2, max_turns=3, last_turns=1)
REWARD = RetrievalRewardSettings()
WARM = SamplingParams(temperature=1.3, top_k=0, max_new_tokens=4)


class Wordy(RetrievalReward):
    """Values with spread whatever a random model says: they follow from its tokens."""

    async def __call__(self, episode: Episode) -> Score:
        values = tuple(float(sum(e.acted.token_ids) % 7) for e in episode.exchanges)
        terms = {"accuracy": (*(0.0 for _ in values[1:]), values[-1])}
        return Score(values, {"accuracy": values[-1]}, exchange_terms=terms)


WORDY = Wordy(REWARD, frames_by(LOOK))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> RetrievalRows:
    """Two questions about a film of eight pictures."""
    folder = tmp_path_factory.mktemp("films")
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(8)]
    write_video(folder / "film.mp4", pictures, 1.0)
    lines = [
        {
            "problem_id": f"q{k}",
            "problem": f"What is in picture {k}?",
            "data_type": "video",
            "problem_type": "multiple choice",
            "options": ["A. red", "B. blue"],
            "solution": "<answer>B</answer>",
            "path": "film.mp4",
            "data_source": "made",
            "spans": [[2.0 * k, 2.0 * k + 2.0]],
        }
        for k in range(2)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RetrievalRows((path,), folder, num_frames=8, look=LOOK)


def config(model: Path, rows: RetrievalRows, kind: CriticKind = "head", **more: Any) -> PpoConfig:
    start = PpoConfig(
        model=str(model),
        examples=rows,
        reward=REWARD,
        bootstrapping=BootstrappingSettings(latch_after=2),
        critic=CriticSettings(kind, learning_rate=1e-2),
        gae=GaeSettings("bilevel_gae", 0.9, 0.95, 0.8),
        num_steps=4,
        prompts_per_step=2,
        group_size=2,
        sampling=WARM,
        learning_rate=1e-3,
        micro_batch_size=3,
        gradient_checkpointing=False,
        num_workers=0,
        save_every_steps=2,
        store_every_steps=2,
    )
    return replace(start, **more)


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


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("kind", ["head", "detached_head", "model"])
def test_at_the_first_update_the_policy_is_the_sampler_and_the_critic_what_it_expected(
    kind: CriticKind, tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, kind)
    trainer = trainer_of(settings, tmp_path)
    torch.nn.init.normal_(trainer.critic.head.weight, std=0.1)  # type: ignore[union-attr]
    groups, logged = credited(rolled(trainer.loaded, settings), trainer, settings)
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
    assert logged["kl_from_start"] == 0


def test_a_new_critic_expects_nothing_and_whitened_advantages_have_mean_0(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows)
    trainer = trainer_of(settings, tmp_path)
    groups, logged = credited(rolled(trainer.loaded, settings), trainer, settings)
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
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, "detached_head", learning_rate=1e-9)
    settings = replace(settings, critic=replace(settings.critic, learning_rate=0.1))
    trainer = trainer_of(settings, tmp_path)
    scored, losses = rolled(trainer.loaded, settings), []
    for step in range(8):
        groups, _ = credited(scored, trainer, settings)
        losses.append(trainer.update(groups, step)["value_loss"])
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(("kind", "moves"), [("head", True), ("detached_head", False)])
def test_only_a_head_that_is_not_detached_moves_the_policy(
    kind: CriticKind, moves: bool, tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, kind)
    trainer = trainer_of(settings, tmp_path)
    torch.nn.init.normal_(trainer.critic.head.weight, std=0.1)  # type: ignore[union-attr]
    groups, _ = credited(rolled(trainer.loaded, settings), trainer, settings)
    nothing = [
        replace(g, advantages=tuple(tuple(0 * a for a in of) for of in g.advantages))
        for g in groups
    ]
    before = weights(trainer.loaded.model)
    trainer.update(nothing, 0)
    after = weights(trainer.loaded.model)
    assert moves != all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_in_warm_up_the_critic_alone_learns(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    critic = CriticSettings("head", learning_rate=1e-2, warmup_steps=1)
    settings = config(tiny_model_folder, rows, critic=critic)
    trainer = trainer_of(settings, tmp_path)
    groups, _ = credited(rolled(trainer.loaded, settings), trainer, settings)
    before, head = weights(trainer.loaded.model), weights(trainer.critic.head)  # type: ignore[union-attr]
    trainer.update(groups, 0)
    for was, now in zip(before, weights(trainer.loaded.model), strict=True):
        assert torch.equal(was, now)
    assert not torch.equal(head[0], weights(trainer.critic.head)[0])  # type: ignore[union-attr]
    trainer.update(groups, 1)
    after = weights(trainer.loaded.model)
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_reward_loses_what_a_token_gained_on_the_model_that_the_run_started_from(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, kl_in_reward=0.5)
    trainer = trainer_of(settings, tmp_path)
    scored = rolled(trainer.loaded, settings)
    start, _ = credited(scored, trainer, settings)
    trainer.update(start, 0)
    again = rolled(trainer.loaded, settings)
    moved, logged = credited(again, trainer, settings)
    free, _ = credited(again, trainer, replace(settings, kl_in_reward=0.0))
    assert logged["kl_from_start"] != 0
    assert not np.array_equal(moved[0].returns[0][0], free[0].returns[0][0])


def run(settings: PpoConfig, out: Path, *, resume: bool = False) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    train_grpo(settings, WORDY, out, resume=resume, report=rows.append)
    return rows


class Killed(Exception):
    """Ends a run as a signal does."""


@pytest.mark.parametrize(("kind", "num_times"), [("head", 2), ("model", 1)])
def test_killed_and_resumed_is_never_killed(
    kind: CriticKind, num_times: int, tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, kind, num_steps=3, save_every_steps=1)
    settings = replace(settings, num_epochs=num_times, num_minibatches=num_times)
    whole = run(settings, tmp_path / "whole")

    def kill(metrics: dict[str, Any]) -> None:
        if metrics["step"] == 2:  # before it is saved
            raise Killed

    with pytest.raises(Killed):
        train_grpo(settings, WORDY, tmp_path / "parts", resume=False, report=kill)
    resumed = run(settings, tmp_path / "parts", resume=True)
    timed = ("rollout_s", "judge_s", "train_s", "tokens_per_s")
    assert [{k: v for k, v in row.items() if k not in timed} for row in whole[1:]] == [
        {k: v for k, v in row.items() if k not in timed} for row in resumed
    ]
    ends = [latest_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "parts")]
    files = sorted(p.relative_to(ends[0]) for p in ends[0].rglob("*") if p.is_file())  # type: ignore[arg-type,union-attr]
    assert HEAD_FILE in map(str, files)
    assert any(str(path).startswith("critic/") for path in files) == (kind == "model")
    for name in files:
        if name.suffix == ".safetensors":
            assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()  # type: ignore[operator]
    states = [
        torch.load(end / "trainer.pt", weights_only=True)  # type: ignore[operator]
        for end in ends
    ]
    assert states[0]["shaping"] == states[1]["shaping"] == {"num_above": 0}
    assert all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for number in states[0]["optimizer"]["state"]
        for a, b in zip(
            states[0]["optimizer"]["state"][number].values(),
            states[1]["optimizer"]["state"][number].values(),
            strict=True,
        )
    )


def test_the_latch_of_the_bonus_is_in_the_checkpoint(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bootstrapping, "_rate", lambda *_: 0.9)
    settings = config(tiny_model_folder, rows, num_steps=2)
    run(settings, tmp_path / "run")
    newest = latest_checkpoint(tmp_path / "run" / "checkpoints")
    state = torch.load(newest / "trainer.pt", weights_only=True)  # type: ignore[operator]
    assert state["shaping"] == {"num_above": 2}


def test_rollouts_are_stored_as_score_rewards_reads_them(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, rows, num_steps=2, store_every_steps=1)
    reported = run(settings, tmp_path / "run")
    stored = read_retrieval_rollouts(tmp_path / "run" / "rollouts" / "step_000001.jsonl")
    assert len(stored) == 4
    assert {len(one.rollout.turns) for one in stored} == {3}
    assert stored[0].rollout.turns[0].indices == (0, 3, 7)
    assert stored[0].rollout.evidence is not None
    assert reported[0]["retrieve_rate"] == 0
    assert any("no turn of this step retrieves" in w for w in reported[0]["warnings"])
    assert not any("no spread" in w for w in reported[0]["warnings"])
    page = tmp_path / "page.html"
    assert cli.main(["view", str(tmp_path / "run"), "--step", "2", "--out", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "2/q0/2/0" in text
    assert "1/q0/0/0" not in text
    assert "data:image/jpeg" in text  # the film is at hand


def test_grpo_takes_the_same_task_with_credit_per_turn(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = GrpoConfig(
        model=str(tiny_model_folder),
        examples=rows,
        reward=REWARD,
        credit="return_to_go",
        credit_discount=0.9,
        num_steps=1,
        prompts_per_step=2,
        group_size=3,
        sampling=WARM,
        gradient_checkpointing=False,
        num_workers=0,
    )
    reported: list[dict[str, Any]] = []
    train_grpo(settings, WORDY, tmp_path / "run", resume=False, report=reported.append)
    assert reported[0]["max_ratio_gap"] < 1e-4
    assert "value_loss" not in reported[0]


def test_a_value_that_leaves_the_range_costs_what_the_clipped_one_does() -> None:
    old, returns = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, -1.0])
    values = torch.tensor([0.4, 0.9, 0.2], requires_grad=True)
    made = value_loss(values, old, returns, 0.5)
    made.loss.backward()
    assert made.loss.item() == pytest.approx(0.5 * (0.36 + 0.25 + 1.44))
    assert made.num_clipped == 1
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([-0.6, 0.0, 1.2])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"credit": "return_to_go"}, "PPO has gae"),
        ({"kl_in_reward": -1.0}, "kl_in_reward"),
        ({"sharding": "full"}, "a head cannot reach"),
        ({"group_size": 0}, "group_size"),
        ({"num_epochs": 0}, "num_epochs"),
    ],
)
def test_settings_that_cannot_be(
    changes: dict[str, Any], said: str, tiny_model_folder: Path, rows: RetrievalRows
) -> None:
    with pytest.raises(ConfigError, match=said):
        config(tiny_model_folder, rows, **changes)
    assert config(tiny_model_folder, rows, group_size=1).group_size == 1


def test_rewards_go_with_their_task(tiny_model_folder: Path, rows: RetrievalRows) -> None:
    with pytest.raises(ConfigError, match="reward"):
        GrpoConfig(model="mini", examples=rows)
    with pytest.raises(ConfigError, match="reward"):
        GrpoConfig(model="mini", reward=REWARD)
    with pytest.raises(ConfigError, match="bootstrapping"):
        GrpoConfig(model="mini", bootstrapping=BootstrappingSettings())
    with pytest.raises(ConfigError, match="left out where the critic is a head"):
        CriticSettings("head", model="x")
    assert config(tiny_model_folder, rows, loss=LossSettings(kl_coefficient=0.1)).kl_in_reward == 0
