"""A run with stored rollouts, made without a model: its members say what is written here."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import yaml

from oncue.clock import Clock
from oncue.config import to_plain
from oncue.data.examples import RolloutExample, WorldExamples
from oncue.rewards.proactive import ProactiveReward
from oncue.scoring.world_judge import world_judge
from oncue.train.rl.advantage import group_advantages
from oncue.train.rl.groups import Group
from oncue.train.rl.settings import GrpoConfig
from oncue.train.rl.step_metrics import rollout_lines, step_metrics
from oncue.types import Action, Episode, Exchange, PolicyTurn, Reply, Silence, StopReason

CONFIG = GrpoConfig(
    model="mini",
    examples=WorldExamples(
        worlds={"shapes": 1.0}, num_turns=(8, 8), history_turns=(2, 2), mean_gap_s=0.5
    ),
    prompts_per_step=3,
    group_size=3,
)


def write_run(folder: Path, steps: tuple[int, ...] = (5, 10)) -> Path:
    """A run directory with the rollouts of `steps`. Member 1 is silent, 2 says what is due, 3 only
    says "Nothing."."""
    (folder / "rollouts").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(to_plain(CONFIG), sort_keys=False))
    for step in steps:
        groups = [group_of(3 * step + place) for place in range(3)]
        metrics = {
            "step": step,
            "warnings": [],
            **step_metrics(groups, ProactiveReward(world_judge(4), CONFIG.reward)),
        }
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        write_lines(folder, step, rollout_lines(groups, step))
    return folder


def write_lines(folder: Path, step: int, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "rollouts" / f"step_{step:06d}.jsonl").write_text(text)


def read_lines(folder: Path, step: int) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (folder / "rollouts" / f"step_{step:06d}.jsonl").read_text().splitlines()
    ]


def group_of(index: int) -> Group:
    """The judged rollouts of example number `index`."""
    example = CONFIG.examples.item(
        index, CONFIG.seed, Clock(CONFIG.frame_interval_s), CONFIG.frames_per_turn
    )
    answers: list[dict[float, str]] = [
        {},
        _due(example),
        {turn.clock_s: "Nothing." for turn in example.turns[3:5]},
    ]
    episodes = tuple(_episode(example, said) for said in answers)
    reward = ProactiveReward(world_judge(4), CONFIG.reward)
    scores = tuple(asyncio.run(reward(episode)) for episode in episodes)
    gained = group_advantages([s.total for s in scores]).tolist()
    by_turn = tuple(
        (advantage,) * len(e.exchanges) for e, advantage in zip(episodes, gained, strict=True)
    )
    return Group(example, episodes, scores=scores, turn_advantages=by_turn)


def _due(example: RolloutExample) -> dict[float, str]:
    """Each gold reply at the first turn in its span."""
    said: dict[float, str] = {}
    for gold in example.task.gold:
        inside = [
            turn.clock_s
            for turn in example.turns
            if turn.clock_s in gold.span and turn.clock_s not in said
        ]
        if inside:
            said[inside[0]] = gold.content
    return said


def _episode(example: RolloutExample, said: dict[float, str]) -> Episode:
    history = [
        Exchange(turn, PolicyTurn(action, sampled=False)) for turn, action in example.history
    ]
    answers: list[Action] = [
        Reply(said[turn.clock_s]) if turn.clock_s in said else Silence() for turn in example.turns
    ]
    shown = [
        Exchange(turn, PolicyTurn(action))
        for turn, action in zip(example.turns, answers, strict=True)
    ]
    return Episode(example.task, (*history, *shown), StopReason.SOURCE_ENDED)
