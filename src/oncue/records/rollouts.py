"""Stored rollouts: JSON lines that hold all that a reward looks at.

    {"episode_id", "gold": [{"question", "content", "reply_timespan": [a, b]}], "turns": [{"time",
     "text"}], "previous_replies": [...]}

Times are video seconds. A silent turn has the text of `TextFormat` for silence; `previous_replies`,
those of the context, may be left out. Other fields are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.fields import field_of, items_of, json_lines, seconds_of, span_of, text_of, whole_text
from oncue.render.actions import TextFormat
from oncue.rewards.proactive import Rollout
from oncue.types import GoldTurn, Reply

EXPECTED = "a stored rollout, an object with episode_id, gold, turns and previous_replies"
_FORMAT = TextFormat()


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """A rollout and the name it is known by in its file and in those of judgements about it."""

    episode_id: str
    rollout: Rollout


def read_rollouts(path: Path) -> list[StoredRollout]:
    """All rollouts of a file, in its order.

    Raises DataError with the number of the line for what breaks the format, an `episode_id` given
    twice, a span without width, or turns that are not in the order of time; and for a file
    that holds no rollout.
    """
    stored: list[StoredRollout] = []
    places: dict[str, str] = {}
    for where, row in json_lines(path, EXPECTED):
        read = StoredRollout(text_of(row, "episode_id", where), _rollout(row, where))
        if read.episode_id in places:
            raise DataError(
                f"{where}: episode_id {read.episode_id!r} is in {places[read.episode_id]} too"
            )
        places[read.episode_id] = where
        stored.append(read)
    if not stored:
        raise DataError(f"{path} holds no line; expected {EXPECTED} on each")
    return stored


def rollout_line(stored: StoredRollout) -> dict[str, Any]:
    """The object of one line, from which `read_rollouts` gives `stored` again."""
    rollout = stored.rollout
    return {
        "episode_id": stored.episode_id,
        "gold": [
            {
                "question": g.question,
                "content": g.content,
                "reply_timespan": [g.span.start_s, g.span.end_s],
            }
            for g in rollout.gold
        ],
        "turns": [
            {"time": time_s, "text": _FORMAT.silence_text if text is None else text}
            for time_s, text in rollout.turns
        ],
        "previous_replies": list(rollout.previous),
    }


def _rollout(row: Mapping[str, Any], where: str) -> Rollout:
    gold = tuple(
        _gold(turn, f"{where}, gold turn {n}")
        for n, turn in enumerate(items_of(row, "gold", where), 1)
    )
    turns: list[tuple[float, str | None]] = []
    for number, turn in enumerate(items_of(row, "turns", where), 1):
        place = f"{where}, turn {number}"
        time_s = seconds_of(turn, "time", place)
        if turns and time_s <= turns[-1][0]:
            raise DataError(
                f"{place}: its time {time_s:g} s is not after that of the turn before, "
                f"{turns[-1][0]:g} s"
            )
        turns.append((time_s, _reply(field_of(turn, "text", place), place)))
    previous = items_of(row, "previous_replies", where) if "previous_replies" in row else []
    for number, text in enumerate(previous, 1):
        if not isinstance(text, str):
            raise DataError(f"{where}: previous reply {number} must be text, got {text!r:.80}")
        whole_text(text, f"{where}: previous reply {number}")
    return Rollout(gold, tuple(turns), tuple(previous))


def _gold(turn: Any, where: str) -> GoldTurn:
    span = span_of(turn, "reply_timespan", where)
    if span.duration_s <= 0:
        raise DataError(
            f"{where}: reply_timespan has no width ({span.start_s:g} s); widen or drop it"
        )
    question = field_of(turn, "question", where)
    if not isinstance(question, str):
        raise DataError(f"{where}: 'question' must be text, got {question!r:.80}")
    return GoldTurn(
        text_of(turn, "content", where), span, whole_text(question, f"{where}: 'question'")
    )


def _reply(text: Any, where: str) -> str | None:
    """The text of a reply, None for a turn without one."""
    if not isinstance(text, str):
        raise DataError(
            f"{where}: 'text' must be text ({_FORMAT.silence_text} for silence), got {text!r:.80}"
        )
    action = _FORMAT.read(whole_text(text, f"{where}: 'text'"))
    return action.text if isinstance(action, Reply) else None
