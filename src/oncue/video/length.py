"""How long a video says it is, and whether that can be believed."""

from __future__ import annotations

from typing import Any

FRAGMENT_BRANDS = ("iso5", "iso6", "dash")  # of MP4 whose index is spread over the file
INDEXED_FRAC = 0.75  # an index that covers less of the bytes is that of a first part


def declared_s(container: Any, stream: Any, *, is_network: bool) -> float | None:
    """The duration the track declares, else the container; None for neither (live, cut recordings).

    Of a fragmented MP4 FFmpeg adds up the fragments it has seen: from a server that does not know
    ranges those at the beginning alone. That length is none.
    """
    seconds = _declared_s(container, stream)
    if seconds is not None and is_network and _is_first_part(container, stream, seconds):
        return None
    return seconds


def _declared_s(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration is None or container.duration <= 0:
        return None
    duration_s = float(container.duration / 1_000_000)  # AV_TIME_BASE
    if stream.start_time is None or stream.time_base is None:
        return duration_s
    start_s = float(stream.start_time * stream.time_base)
    # It counts from 0, others from where the first track begins
    if "matroska" not in container.format.name:
        start_s -= float((container.start_time or 0) / 1_000_000)
    return duration_s - start_s if 0 < start_s < duration_s else duration_s


def _is_first_part(container: Any, stream: Any, seconds: float) -> bool:
    """Whether the index read so far makes up the length, and bytes beyond it are to come."""
    index = stream.index_entries
    if "mp4" not in container.format.name or not len(index):
        return False
    last = index[-1]
    if float(last.timestamp * stream.time_base) < seconds / 2:
        return False  # the length is declared elsewhere, as in the index of segments
    if container.size > 0:
        return bool(last.pos + last.size < INDEXED_FRAC * container.size)
    brands = container.metadata.get("compatible_brands", "")
    return len(index) > stream.frames or any(brand in brands for brand in FRAGMENT_BRANDS)
