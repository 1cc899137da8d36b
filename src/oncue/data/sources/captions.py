"""Subtitle files: SubRip (.srt) and WebVTT (.vtt), as the words of their captions with times.

Read as they are found: with a byte order mark, CRLF, hours or fractions left out, a comma or a dot
before the fraction, markup, entities, notes and styles, captions out of order, given twice, or
rolling up (each repeats what the one before it showed, as in automatic captions). The words of a
caption share its time in proportion to their letters.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from oncue.data.source_videos import Remark
from oncue.errors import DataError
from oncue.types import TimeSpan

SUFFIXES = (".srt", ".vtt")
EXPECTED = "subtitles in SubRip (.srt) or WebVTT (.vtt), UTF-8"
ROLLING_FRAC = 0.4  # of the captions that repeat what the one before them showed

_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_TIMING = re.compile(rf"^\s*{_CLOCK}\s*-+>\s*{_CLOCK}(?:\s.*)?$")
_LOOKS_TIMED = re.compile(r"-+>")
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200e\u200f\u2060"))
_BLOCKS = ("NOTE", "STYLE", "REGION")
# Signs that end a sentence divide words where a script writes no spaces
_WORDS = re.compile(r"[^\s。！？]+[。！？]*|[。！？]+")


def caption_words(path: Path) -> tuple[list[Remark], list[DataError]]:
    """The words of a file of subtitles, and what is wrong with captions that were left out.

    Raises DataError for a file that cannot be read as text, or holds no caption.
    """
    lines = text_of(path).splitlines()
    cues: list[Remark] = []
    faults: list[DataError] = []
    num_timings = 0
    for number, line in enumerate(lines):
        if not _LOOKS_TIMED.search(line):
            continue
        where = f"{path}, line {number + 1}"
        if (found := _TIMING.match(line)) is None:
            if re.match(r"\s*[\d:.,]+\s*-+>", line):
                faults.append(DataError(f"{where}: {line.strip()!r:.80} is no pair of times"))
            continue
        num_timings += 1
        start_s, end_s = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
        if end_s < start_s:
            faults.append(
                DataError(f"{where}: the caption ends at {end_s:g} s, before {start_s:g} s")
            )
        elif text := _shown(_text_below(lines, number)):
            cues.append(Remark(TimeSpan(start_s, end_s), text))
    if not num_timings:
        raise DataError(f"{path} holds no caption; expected {EXPECTED}")
    return words_of_cues(cues), faults


def words_of_cues(cues: Sequence[Remark]) -> list[Remark]:
    """The words of captions, each once, in order of time."""
    ordered = sorted(cues, key=lambda cue: cue.span.start_s)
    return [word for cue in _each_once(ordered) for word in spread(cue.text, cue.span)]


def spread(text: str, span: TimeSpan) -> Iterator[Remark]:
    """The words of `text`, which share `span` in proportion to their letters."""
    words = _WORDS.findall(text)
    num_letters = sum(map(len, words))
    so_far = 0
    for word in words:
        start_s = span.start_s + span.duration_s * so_far / num_letters
        so_far += len(word)
        end_s = span.start_s + span.duration_s * so_far / num_letters
        yield Remark(TimeSpan(round(start_s, 6), round(max(start_s, end_s), 6)), word)


def shown_text(text: str) -> str:
    """What is seen of the text of a caption: no markup, entities as what they stand for."""
    return "\n".join(_shown(text.splitlines()).splitlines())


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises DataError."""
    try:
        data = path.read_bytes()
        is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); expected {EXPECTED}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


def _seconds(clock: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = clock
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + float(f"0.{fraction or 0}")


def _text_below(lines: Sequence[str], timing: int) -> list[str]:
    """The lines of the caption whose times are in line `timing`."""
    text: list[str] = []
    for number in range(timing + 1, len(lines)):
        line = lines[number]
        if _TIMING.match(line):
            # The number or name of the next caption, where no empty line is before it
            return text[:-1] if text and text[-1].strip().isdigit() else text
        if not line:
            if text:
                return text
            continue
        if not text and line.split(" ")[0] in _BLOCKS:
            return []
        text.append(line)
    return text


def _shown(lines: Sequence[str]) -> str:
    """The text of a caption, line by line; empty ones left out."""
    clean = (html.unescape(_MARKUP.sub("", line)).translate(_UNSEEN) for line in lines)
    return "\n".join(filled for line in clean if (filled := " ".join(line.split())))


def _each_once(cues: Sequence[Remark]) -> list[Remark]:
    """The captions without those that are there twice, and without what they repeat of the one
    before them where a file rolls."""
    alone: list[Remark] = []
    for cue in cues:
        is_again = alone and alone[-1].text == cue.text
        if is_again and cue.span.start_s < alone[-1].span.end_s:
            both = TimeSpan(alone[-1].span.start_s, max(alone[-1].span.end_s, cue.span.end_s))
            alone[-1] = Remark(both, cue.text)
        else:
            alone.append(cue)
    repeats = [_repeated(before.text, cue.text) for before, cue in pairwise(alone)]
    num_rolling = sum(bool(repeated) for repeated in repeats)
    if num_rolling < 2 or num_rolling < ROLLING_FRAC * len(repeats):
        return alone
    fresh = [
        Remark(cue.span, cue.text[len(repeated) :].strip())
        for cue, repeated in zip(alone, ["", *repeats], strict=True)
    ]
    return [cue for cue in fresh if cue.text]


def _repeated(before: str, text: str) -> str:
    """What `text` begins with of what is seen before it: all of that, or its last lines."""
    lines = before.split("\n")
    for first in range(len(lines)):
        seen = "\n".join(lines[first:])
        following = text[len(seen) : len(seen) + 1]
        if text.startswith(seen) and (not following or following.isspace()):
            return seen
    return ""
