"""Subtitle tracks inside video files, as the captions they hold. Pictures (of DVDs) are no text,
and are passed over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.data.source_videos import Remark
from oncue.data.sources.captions import shown_text, words_of_cues
from oncue.errors import DataError
from oncue.types import TimeSpan
from oncue.video.decode import Decoder
from oncue.video.packets import packets_of

if TYPE_CHECKING:
    from av import Packet

TEXT_CODECS = ("mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text")
_LANGUAGES = {  # three letters, as containers have them, by the two of subtitle files
    "en": "eng", "fr": "fre fra", "de": "ger deu", "es": "spa", "it": "ita", "pt": "por",
    "nl": "dut nld", "ru": "rus", "zh": "chi zho", "ja": "jpn", "ko": "kor", "ar": "ara",
}  # fmt: skip


def track_words(video: Path, language: str = "") -> tuple[list[Remark], list[DataError]] | None:
    """The words of the first track of text in `language` ("": of any), with times from the first
    picture, and what is wrong with captions that were left out; None where the file has no such
    track. Raises VideoError for what is no video."""
    import av

    decoder = Decoder(video)
    try:
        streams = decoder.container.streams
        track = next((each for each in streams if _is_wanted(each, language)), None)
        if track is None:
            return None
        start, base = decoder.stream.start_time, decoder.stream.time_base
        zero_s = float(start * base) if start is not None and base is not None else 0.0
        cues: list[Remark] = []
        faults: list[DataError] = []
        where = f"{video}, subtitle track {track.index}"
        try:
            for packet in packets_of(decoder.container):
                if packet.stream_index == track.index and packet.size and packet.pts is not None:
                    _add_cue(packet, zero_s, where, cues, faults)
        except av.FFmpegError as error:
            faults.append(DataError(f"{where}: what follows cannot be read ({error.strerror})"))
        return words_of_cues(cues), faults
    finally:
        decoder.close()


def speaks(tag: str, language: str) -> bool:
    """Whether a file or track marked with `tag` ("en", "en-US", "eng") is in `language` ("en")."""
    bare = tag.lower().replace("_", "-").partition("-")[0]
    wanted = language.lower().replace("_", "-").partition("-")[0]
    return bare == wanted or bare in _LANGUAGES.get(wanted, "").split()


def _is_wanted(stream: Any, language: str) -> bool:
    if stream.type != "subtitle" or stream.codec_context is None:
        return False
    if stream.codec_context.name not in TEXT_CODECS:
        return False
    return not language or speaks(stream.metadata.get("language") or "", language)


def _add_cue(
    packet: Packet, zero_s: float, where: str, cues: list[Remark], faults: list[DataError]
) -> None:
    import av

    base = float(packet.time_base)
    start_s = max(0.0, float(packet.pts or 0) * base - zero_s)
    end_s = start_s + float(packet.duration or 0) * base
    try:
        text = shown_text("\n".join(map(_dialogue, packet.decode())))
    except av.FFmpegError as error:
        faults.append(
            DataError(f"{where}: the caption at {start_s:g} s is damaged ({error.strerror})")
        )
        return
    if text:
        cues.append(Remark(TimeSpan(round(start_s, 6), round(end_s, 6)), text))


def _dialogue(subtitle: Any) -> str:
    """The text of a decoded subtitle, line breaks of the ASS format as such."""
    text = subtitle.dialogue.decode("utf-8", "replace") if hasattr(subtitle, "dialogue") else ""
    return re.sub(r"\\[Nn]", "\n", text).replace(r"\h", " ")
