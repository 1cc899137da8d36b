"""HLS playlists (RFC 8216) before FFmpeg opens them: the best variant of a master, and addresses in
a file's list.

FFmpeg reads the first segments of every variant to find out what they hold, and shows the first
one.
"""

from __future__ import annotations

import re

HEAD = "#EXTM3U"
AUDIO_CODECS = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac")
_VARIANT = re.compile(r"^#EXT-X-STREAM-INF:(.*)\n(?:\s*\n|#.*\n)*([^#\s].*)$", re.MULTILINE)
_ADDRESS = re.compile(
    r'(?:^|URI=")((?!file:)[a-z][a-z0-9+.-]*://[^\s"]+)', re.MULTILINE | re.IGNORECASE
)


def best_variant(text: str) -> str | None:
    """The URI of the variant with the largest picture, of equal ones that with the highest bit
    rate.

    None where `text` is no master playlist, or has no choice of pictures to offer.
    """
    variants = _VARIANT.findall(_lines(text)) if text.startswith(HEAD) else []
    shown = [
        (_rank(attributes), uri.strip())
        for attributes, uri in variants
        if not _is_audio(attributes)
    ]
    return max(shown, key=lambda variant: variant[0])[1] if shown else None


def named_address(text: str) -> str | None:
    """The first network address that a playlist names (as a segment, a key, another playlist); None
    for none."""
    found = _ADDRESS.search(_lines(text)) if text.startswith(HEAD) else None
    return found[1] if found else None


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _rank(attributes: str) -> tuple[int, int]:
    """Pixels and bits per second; 0 for what is not declared."""
    size = re.search(r"\bRESOLUTION=(\d+)x(\d+)", attributes)
    rate = re.search(r"(?<!-)\bBANDWIDTH=(\d+)", attributes)
    return int(size[1]) * int(size[2]) if size else 0, int(rate[1]) if rate else 0


def _is_audio(attributes: str) -> bool:
    codecs = re.search(r'\bCODECS="([^"]+)"', attributes)
    if codecs is None:
        return False
    return all(codec.strip().lower().startswith(AUDIO_CODECS) for codec in codecs[1].split(","))
