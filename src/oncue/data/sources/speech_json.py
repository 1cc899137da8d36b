"""Transcripts as JSON, as words with times: of Whisper, whisper-timestamped, WhisperX,
faster-whisper, and of servers that speak OpenAI's form.

    {"segments": [{"start": s, "end": s, "text": text,
                   "words": [{"word" or "text": text, "start": s, "end": s}, ...]}, ...]}

or the list of segments alone; other keys are ignored. `words` may be missing, null or empty: then
the words of the text share the time of the segment; or be beside `segments` for all of them. A word
without times, as WhisperX has for numbers, takes the time between its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from oncue.data.source_videos import Remark
from oncue.data.sources.captions import spread
from oncue.errors import DataError
from oncue.fields import Seconds, read_as
from oncue.json_files import json_file
from oncue.types import TimeSpan

EXPECTED = (
    "a transcript of Whisper, WhisperX or faster-whisper: segments with start, end, text and words"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    start: Seconds
    end: Seconds
    text: str
    words: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"it ends at {self.end:g} s, before it starts at {self.start:g} s")


def speech_words(path: Path) -> tuple[list[Remark], list[DataError]]:
    """The words of a transcript, and what is wrong with segments that were left out. Raises
    DataError for a file that holds no transcript."""
    value = json_file(path, EXPECTED)
    segments = value.get("segments") if isinstance(value, Mapping) else value
    own_words = value.get("words") if isinstance(value, Mapping) else None
    if not isinstance(segments, list):
        if isinstance(own_words, list):
            segments = []
        else:
            raise DataError(f"{path} holds no segments; expected {EXPECTED}")
    lead = " " if any(map(_has_own_spaces, segments)) else ""
    words: list[Remark] = []
    faults: list[DataError] = []
    for number, written in enumerate(segments, 1):
        where = f"{path}, segment {number}"
        try:
            words += _words_of(read_as(_Segment, written, where), lead, where)
        except DataError as error:
            faults.append(error)
    has_words = any(isinstance(each, Mapping) and each.get("words") for each in segments)
    if isinstance(own_words, list) and own_words and not has_words:
        try:
            return timed_words(own_words, TimeSpan(0.0, _last_s(own_words)), str(path)), faults
        except DataError as error:
            faults.append(error)
    return words, faults


def timed_words(written: Sequence[Any], span: TimeSpan, where: str) -> list[Remark]:
    """Each word with its time; one without, or with one that cannot be, shares the time between its
    neighbours, or `span` at its ends. Raises DataError for a word that has no text."""
    texts = [_text(word, f"{where}, word {number}") for number, word in enumerate(written, 1)]
    times = [_time(word) for word in written]
    words: list[Remark] = []
    place = 0
    while place < len(times):
        known = times[place]
        if known is not None:
            words.append(Remark(known, texts[place]))
            place += 1
            continue
        stop = place
        while stop < len(times) and times[stop] is None:
            stop += 1
        after = times[stop] if stop < len(times) else None
        start_s = words[-1].span.end_s if words else span.start_s
        end_s = max(start_s, after.start_s if after is not None else span.end_s)
        step_s = (end_s - start_s) / (stop - place)
        for number in range(stop - place):
            begin_s = start_s + number * step_s
            words.append(Remark(TimeSpan(begin_s, begin_s + step_s), texts[place + number]))
        place = stop
    return words


def _words_of(segment: _Segment, lead: str, where: str) -> list[Remark]:
    """`lead`: what the words of the other segments begin with."""
    span = TimeSpan(segment.start, segment.end)
    if segment.words:
        return timed_words(segment.words, span, where)
    return [Remark(word.span, lead + word.text) for word in spread(segment.text, span)]


def _has_own_spaces(segment: Any) -> bool:
    words = segment.get("words") if isinstance(segment, Mapping) else None
    return isinstance(words, list) and any(
        str(word.get("word", word.get("text", "")))[:1].isspace()
        for word in words
        if isinstance(word, Mapping)
    )


def _text(word: Any, where: str) -> str:
    text = word.get("word", word.get("text")) if isinstance(word, Mapping) else None
    if not isinstance(text, str):
        raise DataError(f"{where}: expected an object with 'word' or 'text', got {word!r:.80}")
    return text


def _time(word: Mapping[str, Any]) -> TimeSpan | None:
    start, end = word.get("start"), word.get("end")
    if not (_is_time(start) and _is_time(end) and start <= end):
        return None
    return TimeSpan(float(start), float(end))


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _last_s(written: Sequence[Any]) -> float:
    times = [_time(word) for word in written if isinstance(word, Mapping)]
    return max((time.end_s for time in times if time is not None), default=0.0)
