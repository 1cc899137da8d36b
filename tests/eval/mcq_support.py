"""Questions about generated videos, and policies that answer them by a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oncue.env.retrieval import RetrievalSettings
from oncue.eval.benchmarks.mcq import MODES, Mcq, McqSetup, files_of
from oncue.eval.benchmarks.mcq_journal import Journal
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_videos import choose
from oncue.eval.runner import run_benchmark
from oncue.policy.open_policy import Script, open_policy
from oncue.types import Action, Answer, EnvTurn, PolicyTurn, Retrieve, Task
from oncue.video.writer import write_video

Say = Callable[[Task, int, EnvTurn], Action]  # the action in turn k (from 1) of a question
OPTIONS = ("A. red", "B. blue", "C. green", "D. grey")


def write_clip(path: Path, num_frames: int = 40) -> Path:
    """A clip of 10 frames per second whose pictures grow brighter."""
    levels = np.linspace(0, 250, num_frames).astype(np.uint8)
    write_video(path, (np.full((32, 48, 3), level, np.uint8) for level in levels), 10.0)
    return path


def question(number: int, video: str, gold: str | None = "A", **facts: Any) -> McqQuestion:
    return McqQuestion(f"q{number}", video, f"Question {number}?", OPTIONS, gold, **facts)


@dataclass
class Seen:
    """Every turn that was shown, by question and in order, and how many were open together."""

    turns: list[tuple[str, EnvTurn]] = field(default_factory=list)
    num_open: int = 0
    most_open: int = 0

    def frames(self, question_id: str) -> list[tuple[int, ...]]:
        """The pool indices of the frames of each turn of a question."""
        return [
            tuple(i for batch in turn.batches for i in batch.indices)
            for name, turn in self.turns
            if name == question_id
        ]


class Session:
    def __init__(self, task: Task, say: Say, seen: Seen) -> None:
        self._task, self._say, self._seen, self._turn = task, say, seen, 0
        seen.num_open += 1
        seen.most_open = max(seen.most_open, seen.num_open)

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        self._turn += 1
        await asyncio.sleep(0)
        self._seen.turns.append((self._task.task_id, observed))
        action = self._say(self._task, self._turn, observed)
        return PolicyTurn(action, latency_ms=100.0 * self._turn)

    def close(self) -> None:
        self._seen.num_open -= 1


def look_then_answer(letter: str = "A") -> Say:
    """Looks once where there is a turn for it, then answers."""

    def say(_task: Task, turn: int, shown: EnvTurn) -> Action:
        return Answer(letter) if turn == 2 or "last turn" in shown.text else Retrieve(3, 30)

    return say


def setup_of(modes=MODES[:1], num_frames: int = 40, **changes: Any) -> McqSetup:
    settings = RetrievalSettings.for_budget(32, changes.pop("max_turns", 3))
    shown = {"frames": num_frames, **changes}
    return McqSetup("mlvu", tuple(modes), num_frames, settings, 0, shown)


def run(
    questions,
    folder: Path | None,
    say: Say,
    *,
    setup: McqSetup | None = None,
    seen: Seen | None = None,
    out: Path | None = None,
    resume: bool = False,
    name: str = "script",
    num_at_once: int = 4,
    allow_missing: bool = False,
):
    """The scores of a scripted policy."""
    setup, seen = setup or setup_of(), seen or Seen()
    chosen = choose(questions, folder, allow_missing=allow_missing)
    episodes = {mode: names[1] for mode, names in files_of(setup.modes).items()}
    journal = Journal(out, episodes, setup.shown, resume=resume)
    benchmark = Mcq(
        setup,
        chosen.questions,
        chosen.paths,
        journal,
        left_out=chosen.left_out,
        num_at_once=num_at_once,
    )
    policy = open_policy(Script(lambda task: Session(task, say, seen), name))
    return run_benchmark(benchmark, policy)


def untimed(value: Any) -> Any:
    """`value` without the times that a run took."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if "latency" not in k}
    return [untimed(each) for each in value] if isinstance(value, list) else value


def lines_of(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
