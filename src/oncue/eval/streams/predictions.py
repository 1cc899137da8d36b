"""Prediction files: what a policy said to the items of a benchmark, in JSON lines.

The first line may be {"protocol": {...}, "items"?: [...]}: how the predictions were made, printed
beside every number, and the ids of the items that were run, where that was a part of the benchmark.
Every other line is one item:

    {"question_id", "replies": [{"time", "text"}], "watched_s"?, "num_turns"?, "num_silent"?}

Times are seconds of the video. An item without a line counts as silence. Lines are read one by one,
so a file may be of any length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from oncue.errors import DataError
from oncue.eval.streams.stream import Prediction
from oncue.fields import AnyText, IdText, Must, Seconds, field_as, has_value, read_as, whole_text
from oncue.json_files import json_lines
from oncue.types import TimedReply

EXPECTED = 'a prediction, {"question_id", "replies": [{"time", "text"}]}'
PROTOCOL = "protocol"

Placed = tuple[str, Prediction]  # where in the file it is, for messages


def _spoken(text: str) -> str:
    if not text.strip():
        raise ValueError(f"must be non-empty text, got {text!r:.80}; leave silent turns out")
    return text


_Number = Annotated[Seconds, Must("a number, 0 or more")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    time: Seconds
    text: Annotated[AnyText, AfterValidator(_spoken)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    question_id: IdText
    replies: tuple[_Reply, ...]
    watched_s: Seconds | None = None
    num_turns: _Number | None = None
    num_silent: _Number | None = None


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """A file in our format: its protocol, and its predictions each time it is iterated.

    `items`: the ids of the items that were run; None: all of the benchmark, or nobody says.
    Iterating raises DataError, with the number of the line, for what breaks the format.
    """

    path: Path
    protocol: Mapping[str, Any] = field(default_factory=dict)
    items: tuple[str, ...] | None = None

    @classmethod
    def open(cls, path: Path) -> PredictionFile:
        """Reads the first line alone. Raises DataError for a file that cannot be read."""
        for where, row in json_lines(path, EXPECTED):
            if PROTOCOL not in row:
                break
            protocol = row[PROTOCOL]
            if not isinstance(protocol, Mapping):
                raise DataError(f"{where}: {PROTOCOL!r} must be an object, got {protocol!r:.80}")
            whole_text(json.dumps(protocol, ensure_ascii=False), f"{where}: {PROTOCOL!r}")
            items = None
            if has_value(row, "items"):
                items = tuple(field_as(list[IdText], row, "items", where))
            return cls(path, protocol, items)
        return cls(path)

    @property
    def num_left_out(self) -> int:
        """Items that were not run because their video is missing."""
        number = self.protocol.get("n_left_out", 0)
        return number if isinstance(number, int) else 0

    @property
    def name(self) -> str:
        """What a table calls them: the model and the policy that their protocol names, or else the
        file."""
        named = [self.protocol.get("model")]
        if (policy := self.protocol.get("policy")) != "model":
            named.append(policy)
        return ", ".join(str(part) for part in named if part is not None) or self.path.stem

    def __iter__(self) -> Iterator[Placed]:
        first = True
        for where, row in json_lines(self.path, EXPECTED):
            if not (first and PROTOCOL in row):
                yield where, prediction_of(row, where)
            first = False


def prediction_of(row: Mapping[str, Any], where: str) -> Prediction:
    """One line. Raises DataError."""
    said = read_as(_Row, row, where)
    if (said.num_silent or 0) > (said.num_turns or 0):
        raise DataError(
            f"{where}: 'num_silent' ({said.num_silent:g}) must not be above 'num_turns' "
            f"({said.num_turns or 0:g}): silent turns are turns"
        )
    return Prediction(
        said.question_id,
        tuple(TimedReply(reply.time, reply.text) for reply in said.replies),
        said.watched_s or 0.0,
        int(said.num_turns or 0),
        int(said.num_silent or 0),
    )


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


def header_line(protocol: Mapping[str, Any], items: Sequence[str] | None = None) -> str:
    """The first line of a file, without its line break."""
    header = {PROTOCOL: protocol} | ({} if items is None else {"items": list(items)})
    return json.dumps(header, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
