"""The rollouts that a run of reinforcement learning stored, read back and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from oncue.config import load_config
from oncue.errors import ConfigError, DataError
from oncue.fields import Index, NonEmptyText, Seconds, field_as, read_as
from oncue.json_files import json_lines
from oncue.records.judgements import judgements_of
from oncue.records.rollouts import EXPECTED, read_rollouts
from oncue.rewards.proactive import TERMS, Rollout
from oncue.rewards.shown_names import logged_terms
from oncue.scoring.score import Judgements
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.run_dir import RunDirectory
from oncue.types import Question

_FILE = re.compile(r"step_(\d+)\.jsonl")
_NAME = re.compile(r"\d+/(?P<group>.+)/\d+", re.DOTALL)  # between step and member
_Number = Annotated[float, AfterValidator(lambda number: number + 0.0)]  # there is no -0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    text: NonEmptyText
    time: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupRow:
    """What each rollout of a group says of the group."""

    questions: tuple[_Question, ...]
    example: Index | None = None
    task: NonEmptyText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MalformedTurn:
    time: Seconds
    reason: NonEmptyText
    text: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _MemberRow:
    reward: _Number
    advantage: _Number
    unscored: _Number
    malformed: tuple[_MalformedTurn, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A rollout of a group and what the run made of it. `judgements`: None where the run stored
    none. `malformed`: when a turn could not be read, and why; it counted as silent.
    `turn_advantages`: one per turn of the rollout, None where the run stored none."""

    rollout: Rollout
    terms: Mapping[str, float]
    reward: float
    advantage: float
    num_unscored: int
    judgements: Judgements | None
    malformed: tuple[tuple[float, str], ...] = ()
    turn_advantages: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """The rollouts of one example. `example`: its number in the supply of the run, None where it
    was not stored."""

    task_id: str
    example: int | None
    questions: tuple[Question, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class StoredStep:
    """The groups of one step of training."""

    step: int
    groups: tuple[StoredGroup, ...]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a page shows: `steps` in order, and how many stored ones were left out. `metrics`: one
    row per step. `terms`: those of the reward, in the order in which they were logged."""

    name: str
    config: GrpoConfig
    metrics: tuple[Mapping[str, Any], ...]
    terms: tuple[str, ...]
    steps: tuple[StoredStep, ...]
    num_left_out: int


def read_run(folder: Path, steps: Sequence[int] = (), max_steps: int = 20) -> StoredRun:
    """The run in `folder` with the given `steps`, or else its newest `max_steps` stored ones.

    Raises ConfigError where there is no run, no rollouts, no such step, or settings that are not
    those of `train_grpo`; DataError, with the line, for stored values that break their form.
    """
    files, num_left_out = step_files(folder, steps, max_steps)
    config, metrics = settings_of(folder), _metrics(folder)
    terms = logged_terms(metrics) or TERMS
    return StoredRun(
        folder.resolve().name,
        config,
        metrics,
        terms,
        tuple(StoredStep(step, _groups(path, terms)) for step, path in files.items()),
        num_left_out,
    )


def settings_of(folder: Path) -> GrpoConfig:
    """The settings of a run of reinforcement learning, with a critic or without. Raises ConfigError
    for those of another run."""
    path = folder / "config.yaml"
    written = path.read_text("utf-8") if path.is_file() else ""
    has_critic = any(line.startswith("critic:") for line in written.splitlines())
    return load_config(PpoConfig if has_critic else GrpoConfig, path)


def step_files(
    folder: Path, steps: Sequence[int] = (), max_steps: int = 20
) -> tuple[dict[int, Path], int]:
    """The files of the given steps of a run, or else of its newest `max_steps` stored ones, in
    order, and how many stored ones are left out. Raises ConfigError as `read_run`."""
    stored = _files(folder)
    missing = [step for step in steps if step not in stored]
    if missing:
        raise ConfigError(
            f"step {missing[0]} of {folder} has no stored rollouts; {len(stored)} steps from "
            f"{min(stored)} to {max(stored)} have, each in rollouts/step_NNNNNN.jsonl"
        )
    chosen = sorted(set(steps)) if steps else sorted(stored)[-max_steps:]
    return {step: stored[step] for step in chosen}, len(stored) - len(chosen)


def _files(folder: Path) -> dict[int, Path]:
    """The file of each stored step."""
    if not (folder / "config.yaml").is_file():
        raise ConfigError(
            f"{folder} holds no run (no config.yaml); give the --out folder of a run of train grpo "
            "or train ppo"
        )
    found = {
        int(m[1]): path
        for path in (folder / "rollouts").glob("*")
        if (m := _FILE.fullmatch(path.name))
    }
    if not found:
        raise ConfigError(
            f"{folder} has no stored rollouts (rollouts/step_*.jsonl); expected a run of train "
            "grpo or train ppo that has reached a step it stores (store_every_steps)"
        )
    return found


def _metrics(folder: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(RunDirectory(folder).metrics())
    except OSError as error:
        raise DataError(f"{folder / 'metrics.jsonl'} cannot be read ({error})") from error


def _groups(path: Path, names: Sequence[str]) -> tuple[StoredGroup, ...]:
    """The groups of a file, in its order. Older runs name a group by its task alone, and have no
    field for it."""
    rows: dict[str, list[tuple[str, Mapping[str, Any], Member]]] = {}
    for stored, (where, row) in zip(read_rollouts(path), json_lines(path, EXPECTED), strict=True):
        named = _NAME.fullmatch(stored.episode_id)
        if named is None:
            raise DataError(
                f"{where}: episode_id must be STEP/TASK/EXAMPLE/MEMBER, got "
                f"{stored.episode_id!r:.80}"
            )
        rows.setdefault(named["group"], []).append(
            (where, row, _member(stored.rollout, row, where, names))
        )
    return tuple(_group(name, members) for name, members in rows.items())


def _group(name: str, members: Sequence[tuple[str, Mapping[str, Any], Member]]) -> StoredGroup:
    where, row, first = members[0]
    for other_where, _, member in members:
        if member.rollout.gold != first.rollout.gold:
            raise DataError(
                f"{other_where}: its gold turns are not those of {where}, a rollout of the same "
                "group"
            )
    about = read_as(_GroupRow, row, where)
    questions = tuple(Question(question.text, question.time) for question in about.questions)
    task_id = about.task or name
    return StoredGroup(task_id, about.example, questions, tuple(member for _, _, member in members))


def _member(rollout: Rollout, row: Mapping[str, Any], where: str, names: Sequence[str]) -> Member:
    if not rollout.turns:
        raise DataError(f"{where}: a rollout needs at least one turn")
    stored = read_as(_MemberRow, row, where)
    judgements = None
    if "judgements" in row:
        lines = field_as(tuple[Any, ...], row, "judgements", where)
        judgements = judgements_of(
            (f"{where}, judgement {n}", line) for n, line in enumerate(lines, 1)
        )
    by_turn = None
    if "turn_advantages" in row:
        by_turn = field_as(tuple[_Number, ...], row, "turn_advantages", where)
        if len(by_turn) != len(rollout.turns):
            raise DataError(
                f"{where}: turn_advantages must be one number per turn ({len(rollout.turns)}), got "
                f"{len(by_turn)}"
            )
    return Member(
        rollout,
        {name: field_as(_Number, row, name, where) for name in names},
        stored.reward,
        stored.advantage,
        int(stored.unscored),
        judgements,
        tuple((turn.time, f"{turn.reason}: {turn.text!r}") for turn in stored.malformed),
        by_turn,
    )
