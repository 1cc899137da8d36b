"""The files of a run: rows.jsonl, rejected.jsonl and summary.json, in the order of the source.

They follow from the journal alone, so a run that was killed and resumed writes the same bytes as
one that was not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from oncue import __version__
from oncue.data.pipeline.journal import Planned
from oncue.data.proactive_rows import ProactiveRow, StepCost
from oncue.fields import Index, read_as
from oncue.files import replacing, write_json
from oncue.json_files import json_object_in

ROWS, REJECTED, SUMMARY = "rows.jsonl", "rejected.jsonl", "summary.json"


@dataclass(slots=True)
class Counts:
    """What a run has made so far."""

    num_videos: int = 0
    num_rows: int = 0
    num_open: int = 0
    num_bad_rows: int = 0
    num_rejected: int = 0
    num_scenes_rejected: int = 0
    num_damaged: int = 0
    num_scenes: int = 0
    num_questions: int = 0
    num_replies: int = 0
    duration_s: float = 0.0
    dialogues: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    steps: dict[tuple[str, str, str], StepCost] = field(default_factory=dict)

    def add_row(self, row: ProactiveRow) -> None:
        self.num_rows += 1
        self.num_scenes += len(row.scenes)
        self.num_questions += len(row.task.questions)
        self.num_replies += len(row.task.gold)
        self.duration_s += row.task.duration_s or 0.0
        self.dialogues[row.dialogue.value] += 1

    def add_step(self, step: StepCost) -> None:
        key = step.step, step.model, step.prompt_version
        old = self.steps.get(key) or StepCost(*key)
        self.steps[key] = StepCost(
            *key,
            old.num_requests + step.num_requests,
            old.tokens_in + step.tokens_in,
            old.tokens_out + step.tokens_out,
            round(old.cost + step.cost, 9),
        )

    @property
    def cost(self) -> float:
        return round(sum(step.cost for step in self.steps.values()), 9)

    def plain(self) -> dict[str, Any]:
        """As summary.json has it. Costs are those of all answers that were used, also where they
        were kept from another run."""
        steps = [self.steps[key] for key in sorted(self.steps)]
        return {
            "num_videos": self.num_videos,
            "num_rows": self.num_rows,
            "num_rejected": self.num_rejected,
            "num_open": self.num_open,
            "num_bad_rows": self.num_bad_rows,
            "num_scenes_rejected": self.num_scenes_rejected,
            "num_damaged": self.num_damaged,
            "rejected": dict(sorted(self.reasons.items())),
            "dialogues": dict(sorted(self.dialogues.items())),
            "num_scenes": self.num_scenes,
            "num_questions": self.num_questions,
            "num_replies": self.num_replies,
            "duration_s": round(self.duration_s, 6),
            "num_requests": sum(step.num_requests for step in steps),
            "tokens_in": sum(step.tokens_in for step in steps),
            "tokens_out": sum(step.tokens_out for step in steps),
            "cost": self.cost,
            "steps": [{name: getattr(step, name) for name in StepCost.__slots__} for step in steps],
        }


def counts_in(out: Path) -> Counts | None:
    """The counts of summary.json in a folder, as far as an estimate needs them; None without one.
    Raises DataError for one that breaks its format."""
    path = out / SUMMARY
    if not path.exists():
        return None
    summary = read_as(_Summary, json_object_in(path, "a summary of oncue data build"), str(path))
    counts = Counts(num_rows=summary.num_rows, num_rejected=summary.num_rejected)
    for step in summary.steps:
        counts.add_step(
            StepCost(
                step.step,
                step.model,
                step.prompt_version,
                step.num_requests,
                step.tokens_in,
                step.tokens_out,
            )
        )
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    step: str
    model: str
    prompt_version: str
    num_requests: Index
    tokens_in: Index
    tokens_out: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    num_rows: Index
    num_rejected: Index
    steps: tuple[_Step, ...]


def write_outputs(out: Path, entries: Iterable[Planned], settings: Mapping[str, Any]) -> Counts:
    """Writes the three files, each in one step; gives the counts. Memory does not grow with the
    number of entries."""
    counts = Counts()
    with ExitStack() as stack:
        rows, rejected = (
            stack.enter_context(
                stack.enter_context(replacing(out / name)).open("w", encoding="utf-8")
            )
            for name in (ROWS, REJECTED)
        )
        for entry in entries:
            _write_entry(entry, rows, rejected, counts)
    summary = {"version": __version__, "settings": dict(settings), **counts.plain()}
    write_json(out / SUMMARY, summary)
    return counts


def _write_entry(entry: Planned, rows: TextIO, rejected: TextIO, counts: Counts) -> None:
    place = {"video_id": entry.video_id, "video": entry.video, "where": entry.where}
    if entry.fault:
        counts.num_bad_rows += 1
        fault = {"step": "source", "kind": "bad_row", "reason": entry.fault, "scene": None}
        _write_line(rejected, {**place, "level": "row", **fault})
        return
    counts.num_videos += 1
    if entry.outcome is None:
        counts.num_open += 1
        return
    for step in entry.outcome.steps:
        counts.add_step(step)
    counts.num_damaged += bool(entry.outcome.damage)
    for reason in entry.outcome.damage:
        damage = {"step": "video", "kind": "damaged", "reason": reason, "scene": None}
        _write_line(rejected, {**place, "level": "damage", **damage})
    row = entry.outcome.row
    if row is not None:
        _write_line(rows, row.plain())
        counts.add_row(row)
    else:
        counts.num_rejected += 1
    for each in entry.outcome.rejected:
        level = "video" if each.scene is None else "scene"
        if each.scene is not None:
            counts.num_scenes_rejected += 1
        else:
            counts.reasons[f"{each.step}: {each.kind}"] += 1
        _write_line(rejected, {**place, "level": level, **each.plain()})


def _write_line(file: TextIO, value: Mapping[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
