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
from typing import Any

from oncue.errors import DataError
from oncue.fields import field_of, items_of, json_lines, seconds_of, span_of, text_of, whole_text
from oncue.rewards.retrieval_rollout import RetrievalAction, RetrievalRollout, RetrievalTurn
from oncue.types import Answer, Evidence, Malformed, Retrieve

EXPECTED = (
    "a stored episode of retrieval, an object with episode_id, question, answer, evidence and turns"
)
_ACTIONS = '{"retrieve": [a, b]}, {"answer": "B"} or {"malformed": "why"}'
_LARGEST = 1e12  # of a number in a range


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
    for where, row in json_lines(path, EXPECTED):
        episode = retrieval_of(row, where)
        name = episode.episode_id
        if name in places:
            raise DataError(f"{where}: episode_id {name!r} is that of {places[name]} too")
        places[name] = where
        stored.append(episode)
    if not stored:
        raise DataError(f"{path} holds no line; expected {EXPECTED} on each")
    return stored


def retrieval_of(row: Mapping[str, Any], where: str) -> StoredRetrieval:
    """The episode that one line holds. Raises DataError, which begins with `where`."""
    return StoredRetrieval(text_of(row, "episode_id", where), _rollout(row, where))


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


def _rollout(row: Mapping[str, Any], where: str) -> RetrievalRollout:
    answer, evidence = field_of(row, "answer", where), _evidence(row, where)
    options = items_of(row, "options", where) if "options" in row else []
    rows = items_of(row, "turns", where)
    num_frames = evidence.num_frames if evidence else None
    turns = [_turn(turn, num_frames, f"{where}, turn {n}") for n, turn in enumerate(rows, 1)]
    question = _text(field_of(row, "question", where), "'question'", where)
    choices = tuple(_text(option, f"option {n}", where) for n, option in enumerate(options, 1))
    right = None if answer is None else _text(answer, "'answer'", where)
    duration_s = None if row.get("duration_s") is None else seconds_of(row, "duration_s", where)
    filled = _with_asked(turns, rows, num_frames, where)
    try:
        return RetrievalRollout(question, choices, right, evidence, duration_s, filled)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _evidence(row: Mapping[str, Any], where: str) -> Evidence | None:
    value = field_of(row, "evidence", where)
    if value is None:
        return None
    place = f"{where}, evidence"
    num_frames = field_of(value, "num_frames", place)
    if not _is_index(num_frames) or not num_frames:
        raise DataError(
            f"{place}: 'num_frames' must be the number of frames of the pool, 1 or more, got "
            f"{num_frames!r:.80}"
        )
    frames = _indices(value, "frames", place, num_frames)
    spans = items_of(value, "spans", place) if "spans" in value else []
    return Evidence(
        frozenset(frames),
        num_frames,
        tuple(
            span_of({"span": span}, "span", f"{place}, span {n}") for n, span in enumerate(spans, 1)
        ),
    )


def _turn(row: Any, num_frames: int | None, where: str) -> RetrievalTurn:
    indices = _indices(row, "frames", where, num_frames)
    times = items_of(row, "times", where)
    if indices and len(times) != len(indices):
        raise DataError(
            f"{where}: 'times' must have one time for each of the {len(indices)} frames, got "
            f"{len(times)}"
        )
    times_s = tuple(seconds_of({"times": time}, "times", where) for time in times)
    thought = row.get("thought", "")
    return RetrievalTurn(
        indices, times_s, _action(row, where), None, _text(thought, "'thought'", where)
    )


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
            asked = None if row["asked"] is None else _indices(row, "asked", place, num_frames)
        elif following and len(following[0].indices) == len(following[0].times_s):
            asked = following[0].indices
        elif num_frames is not None:
            raise DataError(
                f"{place}: no turn shows the frames that it asked for; list their indices in "
                "'asked', or give null where they are not known"
            )
        filled.append(replace(turn, asked=asked))
    return tuple(filled)


def _action(row: Mapping[str, Any], where: str) -> RetrievalAction:
    value = field_of(row, "action", where)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise DataError(f"{where}: 'action' must be {_ACTIONS}, got {value!r:.80}")
    ((kind, said),) = value.items()
    if kind == "retrieve":
        return _range(said, where)
    if kind == "answer":
        return Answer(_text(said, "'answer'", where))
    if kind == "malformed":
        text = _text(field_of(row, "text", where), "'text'", where)
        return Malformed(text, _text(said, "'malformed'", where))
    raise DataError(f"{where}: unknown action {kind!r:.80}; expected {_ACTIONS}")


def _range(value: Any, where: str) -> Retrieve:
    numbers = value if isinstance(value, list) else []
    plain = [isinstance(n, int | float) and not isinstance(n, bool) for n in numbers]
    if len(numbers) != 2 or not all(plain) or not all(abs(n) < _LARGEST for n in numbers):
        raise DataError(f"{where}: 'retrieve' must be [start, end], got {value!r:.80}")
    if numbers[1] < numbers[0]:
        raise DataError(
            f"{where}: 'retrieve' ends before it starts: {numbers}; such a turn is malformed"
        )
    return Retrieve(float(numbers[0]), float(numbers[1]))


def _indices(row: Any, name: str, where: str, num_frames: int | None) -> tuple[int, ...]:
    values = items_of(row, name, where)
    for value in values:
        if not _is_index(value):
            raise DataError(
                f"{where}: {name!r} must hold whole numbers, 0 or more, got {value!r:.80}"
            )
        if num_frames is not None and value >= num_frames:
            raise DataError(
                f"{where}: {name!r} must lie from 0 to {num_frames - 1} in a pool of {num_frames} "
                f"frames, got {value}"
            )
    return tuple(values)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any, what: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: {what} must be text, got {value!r:.80}")
    return whole_text(value, f"{where}: {what}")
