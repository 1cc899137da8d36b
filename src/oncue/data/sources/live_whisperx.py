"""Live-WhisperX (LiveCC): clips of web videos with the words that are spoken, and when.

JSON lines, each a list of two messages:

    [{"role": "user", "content": [{"type": "video", "video": PATH, "video_start": s,
                                   "video_end": s}, {"type": "text", ...}]},
     {"role": "assistant", "content": [{"type": "text_stream",
                                        "text_stream": [[start, end, word], ...]}]}]

Times are seconds of the video file. The last line may be a list of whole numbers, where each line
begins in the file; it is passed over. Titles and texts of the user are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.data.source_videos import Remark, SourceVideo, VideoKind
from oncue.data.sources.parts import span_name
from oncue.data.sources.sentences import sentences_of_words
from oncue.errors import DataError
from oncue.fields import NonEmptyText, Seconds, read_as
from oncue.json_files import filled_lines
from oncue.types import TimeSpan

EXPECTED = "a list of two messages with a video and its text_stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: str
    content: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    video: NonEmptyText
    video_start: Seconds | None = None
    video_end: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    text_stream: tuple[tuple[float | None, float | None, str], ...]


@dataclass(frozen=True, slots=True)
class LiveWhisperX:
    """The clips of these files, with their sentences."""

    paths: tuple[Path, ...]

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError for a file that cannot be read."""
        for path in self.paths:
            for where, line in filled_lines(path, EXPECTED):
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                    if isinstance(row, list) and row and all(type(each) is int for each in row):
                        continue
                    yield _clip(row, where)
                except DataError as error:
                    yield error
                except (ValueError, RecursionError) as error:
                    yield DataError(f"{where} is not JSON ({error}); expected {EXPECTED}")


def _clip(row: Any, where: str) -> SourceVideo:
    if not isinstance(row, list) or len(row) < 2:
        raise DataError(f"{where} holds {row!r:.60}; expected {EXPECTED}")
    video = read_as(_Video, _content(row, "user", "video", where), where)
    stream = read_as(_Stream, _content(row, "assistant", "text_stream", where), where)
    part = None
    if video.video_start is not None and video.video_end is not None:
        if video.video_end <= video.video_start:
            raise DataError(
                f"{where}: the clip ends at {video.video_end:g} s, but starts at "
                f"{video.video_start:g} s"
            )
        part = TimeSpan(video.video_start, video.video_end)
    words = _words_in(stream, part, where)
    if not words:
        raise DataError(f"{where}: no word of it lies in the clip; leave the row out")
    stem = Path(video.video.replace("\\", "/")).stem
    return SourceVideo(
        stem if part is None else f"{stem}-{span_name(part)}",
        video.video,
        "Live-WhisperX",
        where,
        VideoKind.WEB,
        part,
        None if part is None else part.duration_s,
        sentences=sentences_of_words(words),
    )


def _content(row: list[Any], role: str, kind: str, where: str) -> Mapping[str, Any]:
    """The content of this type in the message of this role."""
    messages = [
        read_as(_Message, message, f"{where}, message {number}")
        for number, message in enumerate(row, 1)
    ]
    for message in messages:
        for content in message.content if message.role == role else ():
            if isinstance(content, Mapping) and content.get("type") == kind:
                return content
    raise DataError(f"{where}: no message of the {role} has a {kind}; expected {EXPECTED}")


def _words_in(stream: _Stream, part: TimeSpan | None, where: str) -> list[Remark]:
    """The words that begin in the clip, in seconds from its start."""
    begin_s = part.start_s if part is not None else 0.0
    words = []
    for number, (start_s, end_s, text) in enumerate(stream.text_stream, 1):
        if start_s is None or end_s is None or end_s < start_s:
            raise DataError(
                f"{where}, word {number}: expected start, end and word, got "
                f"{[start_s, end_s, text]!r:.80}"
            )
        if part is None or part.start_s <= start_s < part.end_s:
            last_s = end_s if part is None else min(end_s, part.end_s)
            span = TimeSpan(round(start_s - begin_s, 6), round(last_s - begin_s, 6))
            words.append(Remark(span, text))
    return words
