"""Replies as files: JSON lines, SubRip and WebVTT captions, and the page. Every file appears whole
or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from oncue.files import prepare_folder, write_text
from oncue.watch.record import SpokenReply, Watched

_MAX_CAPTION_S = 5.0
_LAST_CAPTION_S = 1.0  # of a reply that comes as the video ends


def to_jsonl(watched: Watched) -> str:
    """One JSON object per reply and the summary last; the same lines as `oncue watch --json`."""
    lines = [reply.as_json() for reply in watched.replies] + [watched.summary.as_json()]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def to_srt(
    replies: Sequence[SpokenReply], second_0_s: float = 0.0, end_s: float | None = None
) -> str:
    """SubRip captions (UTF-8) for a player on whose clock second 0 is `second_0_s`. Text that a
    player could take for a tag or an arrow is made inert, not removed. No caption is later than
    `end_s`, where the video ends."""
    cues = (
        f"{number}\n{_stamp(start_s, ',')} --> {_stamp(end_s, ',')}\n{_inert(text)}\n"
        for number, (start_s, end_s, text) in enumerate(_cues(replies, second_0_s, end_s), 1)
    )
    return "\n".join(cues)


def to_vtt(
    replies: Sequence[SpokenReply], second_0_s: float = 0.0, end_s: float | None = None
) -> str:
    """WebVTT captions (UTF-8) for a player on whose clock second 0 is `second_0_s`; see
    `to_srt`."""
    cues = (
        f"{number}\n{_stamp(start_s, '.')} --> {_stamp(end_s, '.')}\n{escape(text, quote=False)}\n"
        for number, (start_s, end_s, text) in enumerate(_cues(replies, second_0_s, end_s), 1)
    )
    return "\n".join(["WEBVTT\n", *cues])


FILES = ("replies.jsonl", "replies.srt", "replies.vtt", "index.html")


def write_exports(
    folder: Path, watched: Watched, page: str, second_0_s: float = 0.0, end_s: float | None = None
) -> tuple[Path, ...]:
    """Write `FILES` into `folder`; returns their paths. `second_0_s` and `end_s` are for the
    captions."""
    prepare_folder(folder)
    captions = (to(watched.replies, second_0_s, end_s) for to in (to_srt, to_vtt))
    texts = (to_jsonl(watched), *captions, page)
    for name, text in zip(FILES, texts, strict=True):
        write_text(folder / name, text)
    return tuple(folder / name for name in FILES)


def _cues(
    replies: Sequence[SpokenReply], second_0_s: float, end_s: float | None
) -> Iterator[tuple[float, float, str]]:
    """(start, end, one-paragraph text) of each reply that has text; it lasts until the next, at
    most five seconds.

    A reply comes at the end of its turn, and the last turn reaches to the end of the video or
    beyond. There a player shows nothing any more, so that its caption begins a second before the
    end, or halfway from the one before.
    """
    spoken = sorted((r for r in replies if r.text.strip()), key=lambda r: r.time_s)
    starts_s = [reply.time_s for reply in spoken]
    if starts_s and end_s is not None and starts_s[-1] >= end_s:
        halfway_s = (starts_s[-2] + end_s) / 2 if len(starts_s) > 1 else 0.0
        starts_s[-1] = max(end_s - _LAST_CAPTION_S, halfway_s)
    until_s = float("inf") if end_s is None else end_s
    for reply, (start_s, next_s) in zip(spoken, pairwise([*starts_s, until_s]), strict=True):
        text = "\n".join(line.strip() for line in reply.text.splitlines() if line.strip())
        yield second_0_s + start_s, second_0_s + min(next_s, start_s + _MAX_CAPTION_S), text


def _inert(text: str) -> str:
    """SubRip has no escapes: an invisible word joiner keeps tags, braces and arrows from being read
    as such."""
    return re.sub(r"([<{])(?=[\w/\\])", "\\1\u2060", text).replace("-->", "--\u2060>")


def _stamp(time_s: float, decimal: str) -> str:
    milliseconds = round(time_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimal}{milliseconds:03d}"
