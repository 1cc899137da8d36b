"""The runner of benchmarks: bounded, in order, everything closed, and an error of one item is that
of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from oncue.errors import ConfigError
from oncue.eval.episodes import watch
from oncue.eval.runner import run_benchmark
from oncue.eval.table import TextTable
from oncue.policy.open_policy import Script, open_policy
from oncue.policy.scripted import ScriptedPolicy
from oncue.scoring.metrics import Transcript
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Question, Task


@dataclass
class Closed:
    """Who was opened and closed, and how many sessions were at work together at most."""

    opened: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    num_at_work: int = 0
    most_at_work: int = 0


class Source:
    frame_interval_s = 1.0

    def __init__(self, name: str, num_frames: int, closed: Closed) -> None:
        self.name, self.left, self.num, self.closed = name, num_frames, num_frames, closed
        closed.opened.append(f"source {name}")

    def read(self) -> FrameBatch | None:
        self.left -= 1
        pts_s = np.array([float(self.num - self.left)])
        return FrameBatch(np.zeros((1, 2, 2, 3), np.uint8), pts_s) if self.left >= 0 else None

    def close(self) -> None:
        self.closed.closed.append(f"source {self.name}")


class Session(ScriptedPolicy):
    def __init__(self, task: Task, closed: Closed) -> None:
        super().__init__({2.0: task.task_id})
        self.name, self.closed = task.task_id, closed
        closed.opened.append(f"session {self.name}")

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        self.closed.num_at_work += 1
        self.closed.most_at_work = max(self.closed.most_at_work, self.closed.num_at_work)
        await asyncio.sleep(0)
        self.closed.num_at_work -= 1
        if self.name == "broken":
            raise ZeroDivisionError("this item")
        return await super().respond(observed)

    def close(self) -> None:
        self.closed.closed.append(f"session {self.name}")


@dataclass(frozen=True)
class Said:
    """Scores: what was said, by item."""

    name: str
    texts_by_item: Mapping[str, list[str]]

    def tables(self) -> Sequence[TextTable]:
        return ()

    def remarks(self) -> Sequence[str]:
        return ()

    def headline(self) -> dict[str, Any]:
        return {"model": self.name}

    def numbers(self) -> dict[str, Any]:
        return dict(self.texts_by_item)

    def texts(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Names:
    """A benchmark: items of which the k-th lasts 9 - k seconds, so that the last is done first."""

    names: tuple[str, ...]
    closed: Closed
    num_at_once: int = 3
    text_files: tuple[str, ...] = ()

    def check_name(self, name: str) -> None:
        if name == "taken":
            raise ConfigError("taken")

    def questions(self) -> list[Question]:
        return []

    def items(self, show) -> Sequence[str]:
        with show("drawing", len(self.names)) as steps:
            steps.step()
        return self.names

    async def watch(self, item: str, policy) -> Transcript:
        task = Task(item, (Question("What?", 0.0),))
        frames = Source(item, 9 - self.names.index(item), self.closed)
        with closing(frames) as source, closing(policy.open(task)) as session:
            return await watch(source, session, task)

    async def score(self, name: str, items: Sequence[str], seen: Sequence[Transcript]) -> Said:
        told = zip(items, seen, strict=True)
        return Said(name, {item: [r.text for r in said.replies] for item, said in told})


def opened(closed: Closed, name: str = "script"):
    return open_policy(Script(lambda task: Session(task, closed), name))


def test_items_are_watched_together_but_not_too_many_and_scored_in_order() -> None:
    closed, shown = Closed(), []

    class Steps:
        def step(self) -> None:
            shown[-1][2] += 1

    def show(what: str, total: int):
        shown.append([what, total, 0])
        return nullcontext(Steps())

    names = tuple("abcdefg")
    policy = opened(closed)
    scores = run_benchmark(Names(names, closed), policy, show)
    assert list(scores.numbers()) == list(names)
    assert scores.numbers() == {name: [name] for name in names}
    assert scores.headline() == {"model": "script"}
    assert closed.most_at_work == 3
    assert shown == [["drawing", 7, 1], ["watching clips", 7, 7]]
    assert set(closed.closed) == set(closed.opened)
    with pytest.raises(RuntimeError, match="closed"):
        policy.open()
    alone = Closed()
    run_benchmark(Names(names, alone, num_at_once=1), opened(alone), name="other")
    assert alone.most_at_work == 1
    in_turn = [f"{kind} {name}" for name in names for kind in ("source", "session")]
    assert alone.opened == in_turn


def test_the_error_of_an_item_ends_the_run_and_closes_everything() -> None:
    closed = Closed()
    policy = opened(closed)
    with pytest.raises(ZeroDivisionError, match="this item"):
        run_benchmark(Names(("a", "broken", "c", "d", "e"), closed), policy)
    assert {"source a", "session a", "source broken", "session broken"} <= set(closed.opened)
    assert "source e" not in closed.opened
    assert set(closed.closed) == set(closed.opened)


def test_a_name_that_is_taken_is_refused_before_anything_is_watched() -> None:
    closed = Closed()
    policy = opened(closed, "taken")
    with pytest.raises(ConfigError, match="taken"):
        run_benchmark(Names(("a",), closed), policy)
    assert closed.opened == []
    with pytest.raises(RuntimeError, match="closed"):
        policy.open()
