"""Laws of reinforcement learning: what is trained is what was sampled, equal policies have ratio 1,
runs repeat."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oncue.clock import Clock
from oncue.data.examples import WorldExamples
from oncue.engine.engine import Engine, SamplingParams
from oncue.errors import ConfigError, DataError, JudgeDownError
from oncue.model.loading import LoadedModel, load_model
from oncue.records.rollouts import read_rollouts
from oncue.rewards.proactive import TERMS, ProactiveReward, Rollout
from oncue.scoring.judge import ExactJudge
from oncue.scoring.score import Score
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.rl import loop as grpo_module
from oncue.train.rl import policy_trainer
from oncue.train.rl.advantage import GroupCredit
from oncue.train.rl.groups import Group, roll_out
from oncue.train.rl.loop import GrpoConfig, train_grpo
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.rl.policy_samples import collate_policy
from oncue.train.rl.policy_trainer import PolicyTrainer
from oncue.train.rl.step_metrics import rollout_lines, step_metrics, warnings_of
from oncue.types import Episode, Exchange, Malformed, PolicyTurn, Reply, Silence, StopReason
from oncue.world.questions import exact_level
from tiny_model import build_tiny_model

CLOCK = Clock(1.0)
WARM = SamplingParams(temperature=1.3, top_k=12, max_new_tokens=5)
EXAMPLES = WorldExamples(num_turns=(4, 4), history_turns=(1, 3), mean_gap_s=0.5)
REWARD = ProactiveReward(ExactJudge(lambda gold, reply: 2 * exact_level(gold, reply), max_score=4))


class Wordy:
    """A reward with spread whatever a random model says: the number of its letters."""

    async def __call__(self, episode: Episode) -> Score:
        total = float(sum(len(reply.text) for reply in episode.replies) % 7)
        return Score((total,), dict.fromkeys(TERMS, 0.0))


def config(model: Path | str, **changes: Any) -> GrpoConfig:
    start = GrpoConfig(
        model=str(model),
        examples=EXAMPLES,
        num_steps=4,
        prompts_per_step=2,
        group_size=3,
        sampling=WARM,
        learning_rate=1e-3,
        micro_batch_size=4,
        gradient_checkpointing=False,
        num_workers=0,
        save_every_steps=2,
        store_every_steps=2,
    )
    return replace(start, **changes)


def rolled(loaded: LoadedModel, group_size: int = 3) -> list[Group]:
    examples = [EXAMPLES.item(i, 0, CLOCK, 1) for i in range(2)]
    with Engine(loaded, WARM, lockstep=True, record=True) as engine:
        return asyncio.run(roll_out(engine, examples, group_size, (0,)))


def test_examples_split_a_clip_into_context_and_segment() -> None:
    random_gold = 0
    for index in range(30):
        example = EXAMPLES.item(index, 0, CLOCK, 1)
        assert 1 <= len(example.history) <= 3
        assert len(example.turns) == 4
        clocks = [turn.clock_s for turn, _ in example.history] + [
            turn.clock_s for turn in example.turns
        ]
        assert clocks == [k + 1.0 for k in range(len(clocks))]
        said = [action for _, action in example.history if isinstance(action, Reply)]
        due = {gold.content for gold in example.task.gold}
        random_gold += len(due)
        for gold in example.task.gold:
            assert gold.span.end_s >= len(
                example.history
            )  # what was answered in the context is due no more
        assert all(isinstance(action, Reply | Silence) for _, action in example.history)
        again = EXAMPLES.item(index, 0, CLOCK, 1)
        assert np.array_equal(np.stack(again.frames), np.stack(example.frames))
        assert said == [action for _, action in again.history if isinstance(action, Reply)]
    assert random_gold > 20


def test_members_share_the_context_and_differ_in_what_they_say(tiny_loaded: LoadedModel) -> None:
    for group in rolled(tiny_loaded, 4):
        num_before = len(group.example.history)
        for episode in group.episodes:
            flags = [e.acted.sampled for e in episode.exchanges]
            assert flags == [False] * num_before + [True] * len(group.example.turns)
        said = {tuple(e.acted.token_ids for e in episode.exchanges) for episode in group.episodes}
        assert len(said) > 1
    again = rolled(tiny_loaded, 4)
    assert [
        [e.acted.logprobs for e in x.exchanges] for g in rolled(tiny_loaded, 4) for x in g.episodes
    ] == [[e.acted.logprobs for e in x.exchanges] for g in again for x in g.episodes]


def test_the_sample_holds_the_very_tokens_of_the_rollout_and_trains_only_what_was_drawn(
    tiny_loaded: LoadedModel,
) -> None:
    for group in rolled(tiny_loaded):
        for episode, trace in zip(group.episodes, group.traces, strict=True):
            segment = trace.whole
            drawn = [
                token
                for e in episode.exchanges
                if e.acted.sampled
                for token in e.acted.token_ids[: len(e.acted.token_ids) - e.acted.forced_close]
            ]
            trained = segment.target_ids[segment.loss_mask].tolist()
            assert trained == drawn
            logprobs = [
                p
                for e in episode.exchanges
                if e.acted.sampled
                for p in e.acted.logprobs[: len(e.acted.logprobs) - e.acted.forced_close]
            ]
            assert segment.logprobs[segment.loss_mask].tolist() == pytest.approx(logprobs)


def scored(groups: list[Group]) -> list[Group]:
    """With made-up scores that differ inside each group."""
    return [
        g.credited(
            [Score((float(k),), dict.fromkeys(TERMS, 0.0)) for k, _ in enumerate(g.episodes)],
            GroupCredit(),
        )
        for g in groups
    ]


def test_trainer_and_sampler_agree_at_step_0_and_not_after_it(tiny_model_folder: Path) -> None:
    loaded = load_model(tiny_model_folder, "cpu")
    groups = scored(rolled(loaded))
    trainer = PolicyTrainer(
        config(tiny_model_folder, learning_rate=1e-2), loaded, tiny_model_folder
    )
    first = trainer.update(groups, 0)
    assert first["max_ratio_gap"] <= 1e-4
    assert first["clip_frac"] == 0
    assert trainer.update(groups, 1)["max_ratio_gap"] > 1e-2  # control: the weights have moved


def test_what_the_trainer_cuts_though_it_was_sampled_is_counted(tiny_model_folder: Path) -> None:
    """Sampled from the likeliest twelve and trained on the likeliest one: only the greedy choices
    are not cut."""
    loaded = load_model(tiny_model_folder, "cpu")
    groups = scored(rolled(loaded))
    same = PolicyTrainer(config(tiny_model_folder), loaded, tiny_model_folder).update(groups, 0)
    assert same["frac_sampled_outside_top_k"] == 0
    loaded = load_model(tiny_model_folder, "cpu")
    narrow = config(tiny_model_folder, sampling=replace(WARM, top_k=1))
    made = PolicyTrainer(narrow, loaded, tiny_model_folder).update(groups, 0)
    assert 0.5 < made["frac_sampled_outside_top_k"] < 1


def test_sampler_and_trainer_compute_in_the_same_type(tiny_model_folder: Path) -> None:
    """In bfloat16 they agree up to its rounding; a sampler in float32 (the control) is further
    off."""
    whole = replace(
        WARM, top_k=0
    )  # a token that one of them cuts and the other does not would hide the rest
    examples = [EXAMPLES.item(i, 0, CLOCK, 1) for i in range(4)]
    gaps = {}
    for dtype in (None, torch.bfloat16):
        loaded = load_model(tiny_model_folder, "cpu")
        with Engine(loaded, whole, lockstep=True, autocast_dtype=dtype, record=True) as engine:
            groups = scored(asyncio.run(roll_out(engine, examples, 3, (0, 0))))
        settings = config(
            tiny_model_folder, autocast_dtype="bfloat16", sampling=whole, prompts_per_step=4
        )
        gaps[dtype] = PolicyTrainer(settings, loaded, tiny_model_folder).update(groups, 0)[
            "max_ratio_gap"
        ]
    assert gaps[torch.bfloat16] < gaps[None]
    assert gaps[torch.bfloat16] < 0.1


def test_the_run_samples_in_the_type_it_trains_in(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    kept: list[torch.dtype] = []
    roll = grpo_module.roll_out

    async def watched(engine: Engine, *args: Any) -> list[Group]:
        with engine.open() as session:
            kept.append(session._open_state().slot.states.dtype)
        return await roll(engine, *args)

    monkeypatch.setattr(grpo_module, "roll_out", watched)
    for name in (None, "bfloat16"):
        settings = config(tiny_model_folder, autocast_dtype=name, num_steps=1)
        train_grpo(settings, Wordy(), tmp_path / str(name), resume=False, report=lambda _: None)
    assert kept == [torch.float32, torch.bfloat16]


def test_the_rate_stays_after_the_warm_up_unless_told_where_it_ends(
    tiny_model_folder: Path,
) -> None:
    loaded = load_model(tiny_model_folder, "cpu")
    groups = scored(rolled(loaded))

    def rates(**changes: Any) -> list[float]:
        told = config(tiny_model_folder, learning_rate=2e-4, warmup_steps=2, num_steps=6, **changes)
        trainer = PolicyTrainer(told, loaded, tiny_model_folder)
        used = []
        for step in range(6):
            used.append(trainer.update(groups, step)["learning_rate"])
            assert trainer.optimizer.param_groups[0]["lr"] == used[-1]
        return used

    assert rates() == pytest.approx([1e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4])
    falling = rates(final_learning_rate_frac=0.1)
    assert falling[:3] == pytest.approx([1e-4, 2e-4, 2e-4])
    assert falling[4] == pytest.approx(2e-4 * 0.55)  # half of the way from 1 to 0.1
    assert all(a > b for a, b in itertools.pairwise(falling[2:]))
    with pytest.raises(ConfigError, match="final_learning_rate_frac"):
        config("mini", final_learning_rate_frac=1.5)


def test_mergers_are_frozen_apart_from_the_vision_tower(tmp_path: Path) -> None:
    folder = build_tiny_model(
        tmp_path, family="qwen3_vl"
    )  # the family with mergers of several depths (DeepStack)

    def trained(**flags: bool) -> set[str]:
        loaded = load_model(folder, "cpu")
        PolicyTrainer(config(folder, **flags), loaded, tmp_path)
        names = {
            name
            for name, p in loaded.model.named_parameters()
            if p.requires_grad and ".visual." in name
        }
        return {name.split(".")[2] for name in names}

    mergers = {"merger", "deepstack_merger_list"}
    assert mergers < trained()
    assert not mergers & trained(freeze_merger=True)
    assert "blocks" in trained(freeze_merger=True)
    assert trained(freeze_vision=True) == mergers
    assert trained(freeze_vision=True, freeze_merger=True) == set()


def test_micro_batches_do_not_change_the_update(tiny_model_folder: Path) -> None:
    def weights(size: int) -> torch.Tensor:
        loaded = load_model(tiny_model_folder, "cpu")
        trainer = PolicyTrainer(
            config(tiny_model_folder, micro_batch_size=size), loaded, tiny_model_folder
        )
        trainer.optimizer = torch.optim.SGD(trainer.parameters, lr=1.0)
        trainer.update(scored(rolled(loaded)), 0)
        return torch.cat([p.detach().flatten() for p in loaded.model.parameters()])

    start = torch.cat(
        [p.detach().flatten() for p in load_model(tiny_model_folder, "cpu").model.parameters()]
    )
    one, six = weights(1), weights(6)
    assert torch.allclose(one, six, atol=1e-5)
    assert not torch.allclose(one, start, atol=1e-5)


def test_a_step_of_two_updates_logs_all_its_choices_and_its_greatest_gap(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(tiny_model_folder, "cpu")
    groups = scored(rolled(loaded))
    trainer = PolicyTrainer(
        config(tiny_model_folder, num_minibatches=2, learning_rate=1e-2), loaded, tiny_model_folder
    )
    told: list[dict[str, float]] = []
    one_update = trainer._one_update

    def listened(*args: Any) -> dict[str, float]:
        told.append(one_update(*args))
        return told[-1]

    monkeypatch.setattr(trainer, "_one_update", listened)
    logged = trainer.update(groups, 0)
    first, second = told
    assert logged["num_choices"] == first["num_choices"] + second["num_choices"]
    drawn = [e.acted for g in groups for x in g.episodes for e in x.exchanges if e.acted.sampled]
    assert logged["num_choices"] == sum(
        len(acted.token_ids) - acted.forced_close for acted in drawn
    )
    assert logged["max_ratio_gap"] == max(first["max_ratio_gap"], second["max_ratio_gap"])
    assert first["max_ratio_gap"] < 1e-4 < 1e-2 < second["max_ratio_gap"]  # the weights have moved
    assert logged["entropy"] == pytest.approx((first["entropy"] + second["entropy"]) / 2)


def test_a_member_that_teaches_nothing_costs_nothing(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The middle one of each group of three has advantage 0: the update is the same with and
    without it."""
    num_trained = []

    def collated(samples: Any, image_pad_id: int) -> Any:
        num_trained.append(len(samples))
        return collate_policy(samples, image_pad_id)

    monkeypatch.setattr(policy_trainer, "collate_policy", collated)

    def updated(**changes: Any) -> tuple[torch.Tensor, dict[str, float]]:
        loaded = load_model(tiny_model_folder, "cpu")
        trainer = PolicyTrainer(
            config(tiny_model_folder, micro_batch_size=6, **changes), loaded, tiny_model_folder
        )
        trainer.optimizer = torch.optim.SGD(trainer.parameters, lr=1.0)
        told = trainer.update(scored(rolled(loaded)), 0)
        return torch.cat([p.detach().flatten() for p in loaded.model.parameters()]), told

    weights, told = updated()
    assert num_trained == [4]
    nearly_none = LossSettings(entropy_coefficient=1e-12)
    all_weights, all_told = updated(loss=nearly_none)
    assert num_trained == [4, 6]  # a loss that looks at entropy has a gradient from every member
    assert torch.allclose(weights, all_weights, atol=1e-6)
    start = torch.cat(
        [p.detach().flatten() for p in load_model(tiny_model_folder, "cpu").model.parameters()]
    )
    assert not torch.allclose(weights, start, atol=1e-5)
    assert told["loss"] == pytest.approx(all_told["loss"], abs=1e-6)
    assert told["num_choices"] == all_told["num_choices"]
    assert told["num_tokens"] < all_told["num_tokens"]
    assert told["entropy"] == pytest.approx(
        all_told["entropy"], rel=0.2
    )  # a mean over fewer choices


def test_killed_and_resumed_is_never_killed(tiny_model_folder: Path, tmp_path: Path) -> None:
    class Stops(Exception):
        pass

    def run(folder: Path, *, stop_at: int | None = None, resume: bool = False) -> Path:
        def report(metrics: dict[str, Any]) -> None:
            if metrics["step"] == stop_at:
                raise Stops

        return train_grpo(config(tiny_model_folder), Wordy(), folder, resume=resume, report=report)

    whole = run(tmp_path / "whole")
    with pytest.raises(Stops):
        run(tmp_path / "killed", stop_at=3)
    resumed = run(tmp_path / "killed", resume=True)
    first, second = (load_model(folder, "cpu").model.state_dict() for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    untimed = [
        [
            {k: v for k, v in row.items() if not k.endswith("_s") or k == "first_reply_delay_s"}
            for row in r
        ]
        for r in rows
    ]
    assert untimed[0] == untimed[1]
    stored = sorted(path.name for path in (tmp_path / "killed" / "rollouts").iterdir())
    assert stored == ["step_000002.jsonl", "step_000004.jsonl"]
    line = json.loads(
        (tmp_path / "whole" / "rollouts" / "step_000004.jsonl").read_text().splitlines()[0]
    )
    assert {"episode_id", "gold", "turns", "previous_replies", "reward"} <= set(line)
    told = tmp_path / "killed" / "config.yaml"
    told.write_text(
        told.read_text().replace("scale_by_deviation: true\n", "")
    )  # as of a version without it
    run(tmp_path / "killed", resume=True)
    with pytest.raises(ConfigError, match="scale_by_deviation"):
        train_grpo(
            config(tiny_model_folder, scale_by_deviation=False),
            Wordy(),
            tmp_path / "killed",
            resume=True,
            report=lambda _: None,
        )
    with pytest.raises(ConfigError, match="other settings"):
        train_grpo(
            config(tiny_model_folder, group_size=4),
            Wordy(),
            tmp_path / "killed",
            resume=True,
            report=lambda _: None,
        )


def test_a_judge_that_is_down_stops_the_run_and_nothing_is_lost(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    class Fails:
        num_asked = 0

        async def __call__(self, episode: Episode) -> Score:
            self.num_asked += 1
            if (
                self.num_asked > 2 * 3 * 3
            ):  # in the fourth step, the third not yet being due to be saved
                raise JudgeDownError("down")
            return await Wordy()(episode)

    settings = config(tiny_model_folder, save_every_steps=2)
    with pytest.raises(JudgeDownError):
        train_grpo(settings, Fails(), tmp_path / "run", resume=False, report=lambda _: None)
    assert latest_checkpoint(tmp_path / "run" / "checkpoints").name == "step_000003"
    again: list[int] = []
    final = train_grpo(
        settings, Wordy(), tmp_path / "run", resume=True, report=lambda m: again.append(m["step"])
    )
    assert again == [4]
    assert final.name == "step_000004"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4


def test_metrics_of_a_step(tiny_loaded: LoadedModel) -> None:
    groups = rolled(tiny_loaded)
    judged = [replace(g, scores=tuple(asyncio.run(REWARD(e)) for e in g.episodes)) for g in groups]
    metrics = step_metrics(judged, REWARD)
    turns = [
        e.acted.action for g in groups for x in g.episodes for e in x.exchanges if e.acted.sampled
    ]
    assert metrics["num_turns"] == len(turns) == 2 * 3 * 4
    assert metrics["reply_share"] == sum(isinstance(a, Reply) for a in turns) / len(turns)
    assert metrics["silence_share"] + metrics["reply_share"] + metrics[
        "malformed_share"
    ] == pytest.approx(1)
    expected = np.mean([score.total for g in judged for score in g.scores])
    assert metrics["reward"] == pytest.approx(expected)
    assert all(Rollout.of(e).turns for g in groups for e in g.episodes)


def test_a_stored_rollout_is_the_one_that_was_rewarded_malformed_turns_too(tmp_path: Path) -> None:
    example = EXAMPLES.item(0, 0, CLOCK, 1)
    actions = [
        Reply("A square."),
        Malformed("<|image_pad|> words", "a mark inside"),
        Silence(),
        Reply("It left."),
    ]
    exchanges = tuple(
        Exchange(turn, PolicyTurn(action, sampled=True))
        for turn, action in zip(example.turns, actions, strict=True)
    )
    episode = Episode(example.task, exchanges, StopReason.SOURCE_ENDED)
    scores = (Score((1.0,), dict.fromkeys(TERMS, 0.0)),)
    group = Group(example, (episode,), scores=scores, turn_advantages=((0.0, 1.0, 0.0, -0.5),))
    (line,) = rollout_lines([group], 5)
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(line) + "\n")
    (stored,) = read_rollouts(tmp_path / "rollouts.jsonl")
    assert stored.rollout == replace(Rollout.of(episode), gold=stored.rollout.gold)
    assert [reply.text for reply in stored.rollout.replies] == ["A square.", "It left."]
    assert (line["advantage"], line["turn_advantages"]) == (0.125, [0.0, 1.0, 0.0, -0.5])
    assert line["malformed"] == [
        {"time": example.turns[1].clock_s, "text": "<|image_pad|> words", "reason": "a mark inside"}
    ]


def test_warnings() -> None:
    calm = {
        "frac_reward_zero_std": 0.0,
        "reply_share": 0.1,
        "reward": 1.0,
        "reward_pauc": 0.5,
        "num_unscored": 0,
    }
    assert warnings_of([calm] * 50, REWARD) == []
    assert "no spread" in warnings_of([{**calm, "frac_reward_zero_std": 0.9}], REWARD)[0]
    assert "fallen silent" in warnings_of([{**calm, "reply_share": 0.0}], REWARD)[0]
    assert "all the time" in warnings_of([{**calm, "reply_share": 0.9}], REWARD)[0]
    assert "3 judgements could not be had" in warnings_of([{**calm, "num_unscored": 3}], REWARD)[0]
    hacked = [calm] * 20 + [{**calm, "reward": 1.5, "reward_pauc": 0.4}] * 20
    assert "PAUC does not" in warnings_of(hacked, REWARD)[0]
    stands = [calm] * 20 + [{**calm, "reward": 1.5}] * 20
    assert "PAUC does not" in warnings_of(stands, REWARD)[0]
    better = [calm] * 20 + [{**calm, "reward": 1.5, "reward_pauc": 0.6}] * 20
    assert warnings_of(better, REWARD) == []


def test_a_step_with_a_warning_is_logged_though_none_is_due(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    class Alike:
        num_asked = 0

        async def __call__(self, episode: Episode) -> Score:  # noqa: ARG002
            self.num_asked += 1
            no_spread = 6 < self.num_asked <= 12  # in the second step
            return Score((0.0 if no_spread else float(self.num_asked),), dict.fromkeys(TERMS, 0.0))

    told: list[dict[str, Any]] = []
    seldom = config(tiny_model_folder, log_every_steps=4)
    train_grpo(seldom, Alike(), tmp_path / "run", resume=False, report=told.append)
    warned = {
        row["step"] for row in told if any("no spread" in warning for warning in row["warnings"])
    }
    assert warned == {2}
    assert 4 in {row["step"] for row in told}


def test_bad_settings_are_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    for changes in (
        {"group_size": 1},
        {"num_steps": 0},
        {"num_minibatches": 3},
        {"sampling": SamplingParams()},
    ):
        with pytest.raises(ConfigError):
            config("mini", **changes)
    with pytest.raises(ConfigError, match="frozen"):
        train_grpo(
            config(tiny_model_folder, frozen=("no.such.*",)),
            Wordy(),
            tmp_path / "a",
            resume=False,
            report=print,
        )
    with pytest.raises(DataError, match="max_tokens"):
        train_grpo(
            config(tiny_model_folder, max_tokens=50),
            Wordy(),
            tmp_path / "b",
            resume=False,
            report=print,
        )
