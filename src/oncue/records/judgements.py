"""Recorded judgements: JSON lines that say what a judge decided about stored rollouts.

    {"episode_id", "kind": "coverage", "gold_index", "time", "level"}     level 1 to 5, gold turns
    from 0 {"episode_id", "kind": "repetition", "time", "repeated"}              true or false

`time` is that of the turn whose reply was judged. What a judge could not decide has no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from oncue.errors import DataError
from oncue.fields import Index, Must, NonEmptyText, Seconds, field_as, read_as
from oncue.json_files import json_lines
from oncue.records.rollouts import StoredRollout
from oncue.rewards.proactive import MAX_SCORE, Judgements
from oncue.scoring.score import Unscored

PREFIX = "replay:"
EXPECTED = (
    'a judgement, {"episode_id", "kind": "coverage", "gold_index", "time", "level": 1..5} or '
    '{"episode_id", "kind": "repetition", "time", "repeated": true|false}'
)
_HIGHEST = MAX_SCORE + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    kind: Literal["coverage", "repetition"]
    time: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coverage:
    gold_index: Index
    level: Annotated[int, Field(ge=1, le=_HIGHEST), Must(f"a whole number from 1 to {_HIGHEST}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repetition:
    repeated: bool


def read_judgements(path: Path) -> dict[str, Judgements]:
    """The judgements of a file by `episode_id`.

    Raises DataError with the number of the line for what breaks the format, and for two lines that
    contradict.
    """
    rows: dict[str, list[tuple[str, Any]]] = {}
    for where, row in json_lines(path, EXPECTED):
        rows.setdefault(field_as(NonEmptyText, row, "episode_id", where), []).append((where, row))
    return {name: judgements_of(of_episode) for name, of_episode in rows.items()}


def judgements_of(rows: Iterable[tuple[str, Any]]) -> Judgements:
    """What the objects of one episode say, each given with its place. Raises DataError as
    `read_judgements`."""
    coverage: dict[tuple[int, float], int | Unscored] = {}
    repeated: dict[float, bool | Unscored] = {}
    for where, row in rows:
        judged = read_as(_Judgement, row, where)
        if judged.kind == "coverage":
            said = read_as(_Coverage, row, where)
            _keep(coverage, (said.gold_index, judged.time), said.level - 1, where)
        else:
            _keep(repeated, judged.time, read_as(_Repetition, row, where).repeated, where)
    return Judgements(coverage, repeated)


def judgement_lines(episode_id: str, judgements: Judgements) -> Iterator[dict[str, Any]]:
    """The objects from which `read_judgements` gives all of `judgements` that are decided."""
    for (index, time_s), mark in sorted(judgements.coverage.items(), key=lambda item: item[0]):
        if not isinstance(mark, Unscored):
            yield {
                "episode_id": episode_id,
                "kind": "coverage",
                "gold_index": index,
                "time": time_s,
                "level": mark + 1,
            }
    for time_s, repeated in sorted(judgements.repeated.items(), key=lambda item: item[0]):
        if not isinstance(repeated, Unscored):
            yield {
                "episode_id": episode_id,
                "kind": "repetition",
                "time": time_s,
                "repeated": repeated,
            }


def num_strays(stored: StoredRollout, judgements: Judgements) -> int:
    """How many judgements name no gold turn, or no reply, that this rollout has, or a reply outside
    the span."""
    times, gold = {reply.time_s for reply in stored.rollout.replies}, stored.rollout.gold
    meant = {
        (index, time_s)
        for index, turn in enumerate(gold)
        for time_s in times
        if time_s in turn.span
    }
    return len(judgements.coverage.keys() - meant) + len(judgements.repeated.keys() - times)


def _keep(decided: dict[Any, Any], key: Any, value: Any, where: str) -> None:
    if decided.setdefault(key, value) != value:
        raise DataError(
            f"{where} contradicts an earlier line about the same reply; drop one of them"
        )
