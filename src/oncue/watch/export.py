"""Replies as files: JSON lines, SubRip and WebVTT captions, and the page. Every file appears whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from oncue.files import prepare_folder, write_text
from oncue.watch.record import SpokenReply, Watched

_MAX_CAPTION_S = 5.0


def to_jsonl(watched: Watched) -> str:
    """One JSON object per reply and the summary last; the same lines as `oncue watch --json`."""
    lines = [reply.as_json() for reply in watched.replies] + [watched.summary.as_json()]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def to_srt(replies: Sequence[SpokenReply], second_0_s: float = 0.0) -> str:
    """SubRip captions (UTF-8) for a player on whose clock second 0 is `second_0_s`. Text that a player could take for
    a tag or an arrow is made inert, not removed."""
    cues = (
        f"{number}\n{_stamp(start_s, ',')} --> {_stamp(end_s, ',')}\n{_inert(text)}\n"
        for number, (start_s, end_s, text) in enumerate(_cues(replies, second_0_s), 1)
    )
    return "\n".join(cues)


def to_vtt(replies: Sequence[SpokenReply], second_0_s: float = 0.0) -> str:
    """WebVTT captions (UTF-8) for a player on whose clock second 0 is `second_0_s`."""
    cues = (
        f"{number}\n{_stamp(start_s, '.')} --> {_stamp(end_s, '.')}\n{escape(text, quote=False)}\n"
        for number, (start_s, end_s, text) in enumerate(_cues(replies, second_0_s), 1)
    )
    return "\n".join(["WEBVTT\n", *cues])


FILES = ("replies.jsonl", "replies.srt", "replies.vtt", "index.html")


def write_exports(folder: Path, watched: Watched, page: str, second_0_s: float = 0.0) -> tuple[Path, ...]:
    """Write `FILES` into `folder`; returns their paths. `second_0_s` is for the captions."""
    prepare_folder(folder)
    captions = (to(watched.replies, second_0_s) for to in (to_srt, to_vtt))
    texts = (to_jsonl(watched), *captions, page)
    for name, text in zip(FILES, texts, strict=True):
        write_text(folder / name, text)
    return tuple(folder / name for name in FILES)


def _cues(replies: Sequence[SpokenReply], second_0_s: float) -> Iterator[tuple[float, float, str]]:
    """(start, end, one-paragraph text) of each reply that has text; it lasts until the next, at most five seconds."""
    spoken = sorted((r for r in replies if r.text.strip()), key=lambda r: r.time_s)
    for index, reply in enumerate(spoken):
        next_s = spoken[index + 1].time_s if index + 1 < len(spoken) else float("inf")
        text = "\n".join(line.strip() for line in reply.text.splitlines() if line.strip())
        yield second_0_s + reply.time_s, second_0_s + min(next_s, reply.time_s + _MAX_CAPTION_S), text


def _inert(text: str) -> str:
    """SubRip has no escapes: an invisible word joiner keeps tags, braces and arrows from being read as such."""
    return re.sub(r"([<{])(?=[\w/\\])", "\\1\u2060", text).replace("-->", "--\u2060>")


def _stamp(time_s: float, decimal: str) -> str:
    milliseconds = round(time_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimal}{milliseconds:03d}"
