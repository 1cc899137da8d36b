"""Stored rollouts: JSON lines that hold all that a reward looks at.

    {"episode_id", "gold": [{"question", "content", "reply_timespan": [a, b]}], "turns": [{"time",
     "text"}], "previous_replies": [...]}

Times are video seconds. A silent turn has the text of `TextFormat` for silence; `previous_replies`,
those of the context, may be left out. Other fields are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from oncue.errors import DataError
from oncue.fields import Must, NonEmptyText, Seconds, WideSpan, rows_in
from oncue.render.actions import TextFormat
from oncue.rewards.proactive import Rollout
from oncue.types import GoldTurn, Reply

EXPECTED = "a stored rollout, an object with episode_id, gold, turns and previous_replies"
_FORMAT = TextFormat()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gold:
    question: str
    content: NonEmptyText
    reply_timespan: WideSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    time: Seconds
    text: Annotated[str, Must(f"text ({_FORMAT.silence_text} for silence)")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    episode_id: NonEmptyText
    gold: tuple[_Gold, ...]
    turns: tuple[_Turn, ...]
    previous_replies: tuple[str, ...] = ()


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
    for where, row in rows_in(path, _Row, EXPECTED):
        read = StoredRollout(row.episode_id, _rollout(row, where))
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


def _rollout(row: _Row, where: str) -> Rollout:
    times = [turn.time for turn in row.turns]
    for number, (before, time_s) in enumerate(pairwise(times), 2):
        if time_s <= before:
            raise DataError(
                f"{where}, turn {number}: its time {time_s:g} s is not after that of the turn "
                f"before, {before:g} s"
            )
    return Rollout(
        tuple(GoldTurn(g.content, g.reply_timespan, g.question) for g in row.gold),
        tuple((turn.time, _reply(turn.text)) for turn in row.turns),
        row.previous_replies,
    )


def _reply(text: str) -> str | None:
    """The text of a reply, None for a turn without one."""
    action = _FORMAT.read(text)
    return action.text if isinstance(action, Reply) else None
