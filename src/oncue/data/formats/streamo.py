"""Streamo's rows (MaiFoundations), read only: raw annotations, and the rows of its trainer.

    raw     [{video_name, video_path, question: [{content, time}],
              response: [{content, st_time, end_time, time}]}]
    stream  [{messages, videos: [path]}]: a user message is "[question\\n]<4s-5s>\\n<stream>",
            a reply "</Response> text", silence "</Silence>" or "</Standby>"

Times of raw rows are numbers of seconds counted from 1, also as text: "5" is the second from 4 s to
5 s, so 5 on our clock; "" is none. An event from 5 to 6 is answered one second after it has ended:
due from 6 s to 7 s. A reply with a `time` is due in that second. Stream rows repeat a question at
the start and when it is asked; the first is dropped. A reply is due in the second half of its
turn. Rows have no names: they get that of the video and their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from oncue.data.formats.layout import Layout
from oncue.data.formats.reading import json_each
from oncue.data.formats.written_rows import kind_of
from oncue.data.proactive_rows import ProactiveRow, Provenance
from oncue.errors import DataError
from oncue.fields import NonEmptyText, read_as
from oncue.types import GoldTurn, Question, Task, TimeSpan

_SECOND_S = 1.0  # Streamo shows one frame a second
_TURN = re.compile(r"(?:(.*)\n)?<(\d+(?:\.\d+)?)s-(\d+(?:\.\d+)?)s>\n<stream>\s*", re.DOTALL)
_REPLY = "</Response>"
_SILENT = ("</Silence>", "</Standby>")


def _seconds(written: Any) -> float | None:
    if written in ("", None):
        return None
    try:
        time_s = float(written)
    except (TypeError, ValueError):
        time_s = -1.0
    if isinstance(written, bool) or not 0 <= time_s < 1e12:
        raise ValueError(f'must be seconds, a number or its text, or "", got {written!r:.80}')
    return time_s


_Time = Annotated[Any, AfterValidator(_seconds)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    content: NonEmptyText
    time: _Time = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    content: NonEmptyText
    st_time: _Time = None
    end_time: _Time = None
    time: _Time = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    video_path: NonEmptyText
    question: Annotated[tuple[_Question, ...], Field(min_length=1)]
    response: tuple[_Response, ...]
    source: str = "streamo"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    messages: tuple[_Message, ...]
    videos: Annotated[tuple[NonEmptyText, ...], Field(min_length=1, max_length=1)]
    source: str = "streamo"


def read_raw(path: Path, layout: Layout) -> Iterator[ProactiveRow | DataError]:
    """The rows of raw annotations."""

    def row(value: Mapping[str, Any], where: str) -> ProactiveRow:
        raw = read_as(_Raw, value, where)
        questions = tuple(
            sorted((Question(q.content, q.time or 0.0) for q in raw.question), key=_time)
        )
        gold = tuple(
            GoldTurn(answer.content, span, _newest(questions, span.end_s))
            for answer in raw.response
            if (span := _due(answer, where))
        )
        return _row(questions, gold, raw.video_path, raw.source, None, where, layout)

    return json_each(path, "a raw row of Streamo, an object with question and response", row)


def read_stream(path: Path, layout: Layout) -> Iterator[ProactiveRow | DataError]:
    """The rows of Streamo's trainer."""

    def row(value: Mapping[str, Any], where: str) -> ProactiveRow:
        stream = read_as(_Stream, value, where)
        questions, gold, end_s = _turns(stream, where)
        return _row(questions, gold, stream.videos[0], stream.source, end_s, where, layout)

    return json_each(path, "a stream row of Streamo, an object with messages and videos", row)


def is_raw(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is a raw one."""
    return "response" in value and "question" in value


def is_stream(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of a stream."""
    messages = value.get("messages")
    return isinstance(messages, list) and any(
        isinstance(m, Mapping) and "<stream>" in str(m.get("content")) for m in messages
    )


def _due(answer: _Response, where: str) -> TimeSpan:
    if answer.time is not None:
        return TimeSpan(max(0.0, answer.time - _SECOND_S / 2), max(answer.time, _SECOND_S / 2))
    end_s = answer.end_time if answer.end_time is not None else answer.st_time
    if end_s is None:
        raise DataError(
            f"{where}: a response has neither time nor end_time: {answer.content!r:.60}"
        )
    return TimeSpan(end_s, end_s + _SECOND_S)


def _turns(stream: _Stream, where: str) -> tuple[tuple[Question, ...], tuple[GoldTurn, ...], float]:
    questions: list[Question] = []
    gold: list[GoldTurn] = []
    start_s = end_s = 0.0
    for number, message in enumerate(stream.messages, 1):
        place = f"{where}, message {number}"
        if message.role == "user":
            turn = _TURN.fullmatch(message.content)
            if turn is None or float(turn[3]) <= float(turn[2]) or float(turn[2]) < end_s:
                raise DataError(
                    f"{place}: expected [question] <Xs-Ys> <stream>, each after the turn before, "
                    f"got {message.content!r:.80}"
                )
            start_s, end_s = float(turn[2]), float(turn[3])
            if turn[1] and turn[1].strip():
                questions = [q for q in questions if q.text != turn[1]]
                questions.append(Question(turn[1], end_s))
        elif message.role == "assistant" and message.content.strip() not in _SILENT:
            text = message.content.strip().removeprefix(_REPLY).strip()
            if not message.content.strip().startswith(_REPLY) or not text or not end_s:
                raise DataError(
                    f"{place}: expected {_REPLY} and a text, or {' or '.join(_SILENT)}, after a "
                    f"user message, got {message.content!r:.80}"
                )
            asked = questions[-1].text if questions else ""
            gold.append(GoldTurn(text, TimeSpan((start_s + end_s) / 2, end_s), asked))
    return tuple(questions), tuple(gold), end_s


def _row(
    questions: tuple[Question, ...],
    gold: tuple[GoldTurn, ...],
    video: str,
    source: str,
    duration_s: float | None,
    where: str,
    layout: Layout,
) -> ProactiveRow:
    if not questions:
        raise DataError(f"{where}: nothing is asked in it; expected a question")
    video_id = PurePosixPath(video.replace("\\", "/")).stem
    return ProactiveRow(
        Task(f"{video_id}-{where.rsplit(' ', 1)[1]}", questions, gold, duration_s or None),
        video,
        video_id,
        source or "streamo",
        layout.kind,
        kind_of(questions),
        provenance=Provenance(where),
    )


def _newest(questions: tuple[Question, ...], time_s: float) -> str:
    asked = [question.text for question in questions if question.time_s <= time_s]
    return asked[-1] if asked else questions[0].text


def _time(question: Question) -> float:
    return question.time_s
