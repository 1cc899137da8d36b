"""Prediction files: what a policy said to the items of a benchmark, in JSON lines.

The first line may be {"protocol": {...}}: how the predictions were made, printed beside every
number. Every other line is one item:

    {"question_id", "replies": [{"time", "text"}], "watched_s"?, "num_turns"?, "num_silent"?}

Times are seconds of the video. An item without a line counts as silence. Lines are read one by one,
so a file may be of any length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.streams.stream import Prediction
from oncue.fields import IdText, Seconds, field_as, has_value
from oncue.json_files import json_lines
from oncue.types import TimedReply

EXPECTED = 'a prediction, {"question_id", "replies": [{"time", "text"}]}'
PROTOCOL = "protocol"

Placed = tuple[str, Prediction]  # where in the file it is, for messages


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """A file in our format: its protocol, and its predictions each time it is iterated.

    Iterating raises DataError, with the number of the line, for what breaks the format.
    """

    path: Path
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> PredictionFile:
        """Reads the first line alone. Raises DataError for a file that cannot be read."""
        for where, row in json_lines(path, EXPECTED):
            if PROTOCOL not in row:
                break
            protocol = row[PROTOCOL]
            if not isinstance(protocol, Mapping):
                raise DataError(f"{where}: {PROTOCOL!r} must be an object, got {protocol!r:.80}")
            return cls(path, protocol)
        return cls(path)

    def __iter__(self) -> Iterator[Placed]:
        first = True
        for where, row in json_lines(self.path, EXPECTED):
            if not (first and PROTOCOL in row):
                yield where, prediction_of(row, where)
            first = False


def prediction_of(row: Mapping[str, Any], where: str) -> Prediction:
    """One line. Raises DataError."""
    return Prediction(
        field_as(IdText, row, "question_id", where),
        tuple(
            _reply_of(reply, f"{where}, reply {number}")
            for number, reply in enumerate(field_as(list[Any], row, "replies", where), 1)
        ),
        field_as(Seconds, row, "watched_s", where) if has_value(row, "watched_s") else 0.0,
        int(field_as(Seconds, row, "num_turns", where)) if has_value(row, "num_turns") else 0,
        int(field_as(Seconds, row, "num_silent", where)) if has_value(row, "num_silent") else 0,
    )


def _reply_of(reply: Any, where: str) -> TimedReply:
    time_s, text = field_as(Seconds, reply, "time", where), field_as(Any, reply, "text", where)
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"{where}: 'text' must be non-empty text, got {text!r:.80}; leave silent turns out"
        )
    return TimedReply(time_s, text)


def prediction_line(said: Prediction) -> str:
    """The line from which `prediction_of` gives `said`, without its line break."""
    row: dict[str, Any] = {
        "question_id": said.item_id,
        "replies": [{"time": r.time_s, "text": r.text} for r in said.replies],
    }
    if said.num_turns:
        row |= {
            "watched_s": said.watched_s,
            "num_turns": said.num_turns,
            "num_silent": said.num_silent,
        }
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def protocol_line(protocol: Mapping[str, Any]) -> str:
    """The first line of a file."""
    return json.dumps({PROTOCOL: protocol}, ensure_ascii=False)
