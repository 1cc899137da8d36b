"""Stored episodes of retrieval: JSON lines that hold all that a reward and a page look at.

    {"episode_id", "question", "options": [...], "answer", "duration_s",
     "evidence": {"frames": [...], "num_frames", "spans": [[a, b]]},
     "turns": [{"frames": [...], "times": [...], "thought", "action", "asked": [...]}]}

`frames` are indices of a pool of `num_frames`, `times` their video seconds. An action is
{"retrieve": [a, b]}, {"answer": "B"} or {"malformed": "why"}; a malformed turn has its `text`.
`asked`: the pool frames that a retrieval asked for; left out, those that the next turn shows.
`answer`, `evidence`, `duration_s` and `asked` are null where they are not known. `options`,
`spans`, `duration_s` and `thought` may be left out. Other fields are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from oncue.errors import DataError
from oncue.fields import (
    Index,
    Must,
    NonEmptyText,
    Seconds,
    Span,
    WrittenAs,
    field_as,
    read_as,
    rows_in,
)
from oncue.rewards.retrieval_rollout import RetrievalAction, RetrievalRollout, RetrievalTurn
from oncue.types import Answer, Evidence, Malformed, Retrieve

EXPECTED = (
    "a stored episode of retrieval, an object with episode_id, question, answer, evidence and turns"
)
_ACTIONS = '{"retrieve": [a, b]}, {"answer": "B"} or {"malformed": "why"}'
_LARGEST = 1e12  # of a number in a range


def _range(ends: tuple[float, float]) -> Retrieve:
    if ends[1] < ends[0]:
        raise ValueError(
            f"ends before it starts: [{ends[0]:g}, {ends[1]:g}]; such a turn is malformed"
        )
    return Retrieve(*ends)


_End = Annotated[float, Field(gt=-_LARGEST, lt=_LARGEST)]
_ACTION_KINDS = {
    "retrieve": Annotated[
        Retrieve, WrittenAs(Annotated[tuple[_End, _End], Must("[start, end]")], _range)
    ],
    "answer": str,
    "malformed": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    frames: tuple[Index, ...]
    times: tuple[Seconds, ...]
    action: Annotated[dict[str, Any], Field(min_length=1, max_length=1), Must(_ACTIONS)]
    thought: str = ""
    asked: tuple[Index, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    frames: tuple[Index, ...]
    num_frames: Annotated[int, Field(ge=1), Must("the number of frames of the pool, 1 or more")]
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    episode_id: NonEmptyText
    question: str
    options: tuple[str, ...] = ()
    answer: str | None
    duration_s: Seconds | None = None
    evidence: _Evidence | None
    turns: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class StoredRetrieval:
    """An episode of retrieval and the name it is known by in its file."""

    episode_id: str
    rollout: RetrievalRollout


def read_retrieval_rollouts(path: Path) -> list[StoredRetrieval]:
    """All episodes of a file, in its order.

    Raises DataError with the number of the line for what breaks the format, and an `episode_id`
    given twice; and for a file that holds no episode.
    """
    stored: list[StoredRetrieval] = []
    places: dict[str, str] = {}
    for where, row in rows_in(path, _Row, EXPECTED):
        name = row.episode_id
        if name in places:
            raise DataError(f"{where}: episode_id {name!r} is that of {places[name]} too")
        places[name] = where
        stored.append(StoredRetrieval(name, _rollout(row, where)))
    if not stored:
        raise DataError(f"{path} holds no line; expected {EXPECTED} on each")
    return stored


def retrieval_of(row: Mapping[str, Any], where: str) -> StoredRetrieval:
    """The episode that one line holds. Raises DataError, which begins with `where`."""
    read = read_as(_Row, row, where)
    return StoredRetrieval(read.episode_id, _rollout(read, where))


def retrieval_line(stored: StoredRetrieval) -> dict[str, Any]:
    """The object of one line, from which `read_retrieval_rollouts` gives `stored` again."""
    rollout = stored.rollout
    evidence = rollout.evidence
    return {
        "episode_id": stored.episode_id,
        "question": rollout.question,
        "options": list(rollout.options),
        "answer": rollout.answer,
        "duration_s": rollout.duration_s,
        "evidence": evidence
        and {
            "frames": sorted(evidence.frames),
            "num_frames": evidence.num_frames,
            "spans": [[span.start_s, span.end_s] for span in evidence.spans],
        },
        "turns": [_turn_line(turn) for turn in rollout.turns],
    }


def _turn_line(turn: RetrievalTurn) -> dict[str, Any]:
    line = {
        "frames": list(turn.indices),
        "times": list(turn.times_s),
        "thought": turn.thought,
    }
    if isinstance(turn.action, Retrieve):
        asked = None if turn.asked is None else list(turn.asked)
        span = [_short(turn.action.start), _short(turn.action.end)]
        return {**line, "action": {"retrieve": span}, "asked": asked}
    if isinstance(turn.action, Answer):
        return {**line, "action": {"answer": turn.action.text}}
    return {**line, "action": {"malformed": turn.action.reason}, "text": turn.action.text}


def _short(number: float) -> float:
    """`number`, whole where it is."""
    return int(number) if number == int(number) else number


def _rollout(row: _Row, where: str) -> RetrievalRollout:
    evidence = _evidence(row.evidence, f"{where}, evidence") if row.evidence else None
    num_frames = evidence.num_frames if evidence else None
    turns = [_turn(turn, num_frames, f"{where}, turn {n}") for n, turn in enumerate(row.turns, 1)]
    filled = _with_asked(turns, row.turns, num_frames, where)
    try:
        return RetrievalRollout(
            row.question, row.options, row.answer, evidence, row.duration_s, filled
        )
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _evidence(row: _Evidence, where: str) -> Evidence:
    _check_pool("frames", row.frames, row.num_frames, where)
    return Evidence(frozenset(row.frames), row.num_frames, row.spans)


def _turn(value: Any, num_frames: int | None, where: str) -> RetrievalTurn:
    row = read_as(_Turn, value, where)
    _check_pool("frames", row.frames, num_frames, where)
    if row.frames and len(row.times) != len(row.frames):
        raise DataError(
            f"{where}: 'times' must have one time for each of the {len(row.frames)} frames, got "
            f"{len(row.times)}"
        )
    _check_pool("asked", row.asked or (), num_frames, where)
    return RetrievalTurn(row.frames, row.times, _action(row, value, where), None, row.thought)


def _with_asked(
    turns: Sequence[RetrievalTurn], rows: Sequence[Any], num_frames: int | None, where: str
) -> tuple[RetrievalTurn, ...]:
    """The turns with the frames that each retrieval asked for."""
    filled = []
    for number, (turn, row) in enumerate(zip(turns, rows, strict=True), 1):
        place = f"{where}, turn {number}"
        asked, following = None, turns[number : number + 1]
        if not isinstance(turn.action, Retrieve):
            if row.get("asked") is not None:
                raise DataError(f"{place}: 'asked' is for retrievals; leave it out")
        elif "asked" in row:
            asked = None if row["asked"] is None else tuple(row["asked"])  # checked by `_turn`
        elif following and len(following[0].indices) == len(following[0].times_s):
            asked = following[0].indices
        elif num_frames is not None:
            raise DataError(
                f"{place}: no turn shows the frames that it asked for; list their indices in "
                "'asked', or give null where they are not known"
            )
        filled.append(replace(turn, asked=asked))
    return tuple(filled)


def _action(row: _Turn, value: Any, where: str) -> RetrievalAction:
    (kind,) = row.action
    if kind not in _ACTION_KINDS:
        raise DataError(f"{where}: unknown action {kind!r:.80}; expected {_ACTIONS}")
    said = field_as(_ACTION_KINDS[kind], row.action, kind, where)
    if kind == "malformed":
        return Malformed(field_as(str, value, "text", where), said)
    return Answer(said) if kind == "answer" else said


def _check_pool(name: str, indices: Sequence[int], num_frames: int | None, where: str) -> None:
    """Raises DataError for an index that a pool of `num_frames` does not have."""
    outside = [index for index in indices if num_frames is not None and index >= num_frames]
    if num_frames is not None and outside:
        raise DataError(
            f"{where}: {name!r} must lie from 0 to {num_frames - 1} in a pool of {num_frames} "
            f"frames, got {outside[0]}"
        )
