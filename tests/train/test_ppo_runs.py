"""Laws of whole runs with a critic: that they repeat, what they store, and what they refuse."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ppo_runs import LOOK, REWARD, SHORT, WARM, WORDY, config, run

from oncue import cli
from oncue.data.retrieval_examples import RetrievalExample, RetrievalRows
from oncue.errors import ConfigError
from oncue.model.loading import load_model
from oncue.recipes import ppo_recipe
from oncue.records.retrieval_rollouts import read_retrieval_rollouts
from oncue.render.retrieval_format import Unit
from oncue.rewards.bootstrapping import Bootstrapping, BootstrappingSettings
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.rl.critic import HEAD_FILE
from oncue.train.rl.critic_settings import CriticKind, CriticSettings
from oncue.train.rl.loop import train_grpo, try_first_step
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.settings import GrpoConfig, groups_per_process
from oncue.types import FrameBatch, Question, Retrieve, Task
from oncue.video.pool import FramePool
from tiny_model import build_tiny_model


class Killed(Exception):
    """Ends a run as a signal does."""


@pytest.mark.parametrize(("kind", "num_times"), [("head", 2), ("model", 1)])
def test_killed_and_resumed_is_never_killed(
    kind: CriticKind, num_times: int, tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, replace(rows, look=SHORT), kind)
    settings = replace(settings, num_steps=2, save_every_steps=1)
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
    other = replace(settings, critic=replace(settings.critic, kind="detached_head"))
    with pytest.raises(ConfigError, match=r"critic\.kind was"):
        run(other, tmp_path / "parts", resume=True)


def test_the_latch_of_the_bonus_is_in_the_checkpoint(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bootstrapping, "_rate", lambda *_: 0.9)
    settings = config(tiny_model_folder, replace(rows, look=SHORT), num_steps=2, group_size=1)
    run(settings, tmp_path / "run")
    newest = latest_checkpoint(tmp_path / "run" / "checkpoints")
    state = torch.load(newest / "trainer.pt", weights_only=True)  # type: ignore[operator]
    assert state["shaping"] == {"num_above": 2}


def test_rollouts_are_stored_as_score_rewards_reads_them(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    settings = config(tiny_model_folder, replace(rows, look=SHORT), num_steps=2)
    settings = replace(settings, store_every_steps=1)
    reported = run(settings, tmp_path / "run")
    stored = read_retrieval_rollouts(tmp_path / "run" / "rollouts" / "step_000001.jsonl")
    assert len(stored) == 4
    assert {len(one.rollout.turns) for one in stored} == {2}
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
        examples=replace(rows, look=SHORT),
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


def test_a_critic_of_another_size_learns_and_counts_in_the_plan(
    tiny_model_folder: Path, rows: RetrievalRows, tmp_path: Path
) -> None:
    wide = build_tiny_model(tmp_path / "wide", hidden_size=128, num_attention_heads=8)
    critic = CriticSettings("model", str(wide), learning_rate=1e-2)
    settings = config(tiny_model_folder, replace(rows, look=SHORT), critic=critic)
    trial = try_first_step(settings, 2, WORDY)
    out = tmp_path / "run"
    assert run(replace(settings, num_steps=1), out)[0]["critic_grad_norm"] > 0
    saved = out / "checkpoints" / "step_000001"
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    assert 0.8 < trial.checkpoint_bytes / size <= 1.1
    assert load_model(saved / "critic").model.config.get_text_config().hidden_size == 128


def test_the_processes_of_the_page_can_share_a_step() -> None:
    text = (Path(__file__).parents[2] / "docs" / "ppo.md").read_text()
    named = re.findall(r"--nproc-per-node (\d+) -m oncue train ppo --recipe (\S+)", text)
    assert named
    for number, recipe in named:
        assert groups_per_process(ppo_recipe(recipe), int(number)) > 0
    eight = {"num_minibatches": 2}, {"group_size": 1, "prompts_per_step": 32}
    for changes in eight:
        assert groups_per_process(replace(ppo_recipe("video-mtr-7b"), **changes), 8) > 0


@pytest.mark.parametrize("unit", ["frames", "seconds"])
def test_no_look_takes_more_words_than_the_longest_turns(unit: Unit) -> None:
    pixels = np.zeros((12, 1, 1, 3), np.uint8)
    pool = FramePool(FrameBatch(pixels, np.arange(12) + 0.5), 12.0)
    look = replace(LOOK, unit=unit, marks=unit)
    example = RetrievalExample(Task("q", (Question("Where?"),), answer="x"), pool, look, 0)

    async def length(first: int, last: int) -> int:
        env = example.env()
        await env.open()
        return words(await env.step(Retrieve(first, last)))

    most = max(asyncio.run(length(a, b)) for a in range(12) for b in range(a, 12))
    assert words(example.longest_turns[1]) == most


def words(turn: Any) -> int:
    """Characters of a turn and of the marks of its frames."""
    marks = sum(len(mark) for batch in turn.batches for mark in batch.marks)
    return marks + sum(len(part) for part in turn.content if isinstance(part, str))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--held-out-from", "ROWS"), "--held-out-from is for streams"),
        (("--judge", "lexical"), "retrieval needs no judge"),
        (("--examples.videos", "nowhere"), "film.mp4"),
        (("--critic.model", "no/such"), "no/such"),
    ],
)
def test_what_retrieval_has_no_use_for_or_cannot_find_is_named(
    flags: tuple[str, ...],
    said: str,
    tiny_model_folder: Path,
    rows: RetrievalRows,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(rows.paths[0]) if flag == "ROWS" else flag for flag in flags]
    words = ["train", "ppo", "--recipe", "video-mtr-3b", "--model", str(tiny_model_folder)]
    words += ["--data", str(rows.paths[0]), "--out", str(tmp_path / "run"), "--device", "cpu"]
    if "--examples.videos" not in flags:
        words += ["--examples.videos", str(rows.videos)]
    assert cli.main([*words, "--num-workers", "0", *given]) == 2
    assert said in capsys.readouterr().err


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
