"""Annotated segments as the scenes of a video: checked one by one, so that a broken one costs only
itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from oncue.data.source_videos import Remark
from oncue.errors import DataError
from oncue.types import TimeSpan

SHORTEST_SCENE_S = 4.0  # one turn of MMDuet2's training: a scene that long holds a moment to reply
LONGEST_SCENE_S = 20.0  # its web videos have a reply every 14 s (92.7 s, 6.7 replies, Table 1)

_UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))


def scene_of(span: TimeSpan, text: str, duration_s: float | None, where: str) -> Remark:
    """The scene of a segment: cut at the end of the video, runs of white space made one space.

    Raises DataError, with `where`, for one without width or text, or that begins behind the end.
    """
    words = " ".join(text.translate(_UNSEEN).split())
    if not words:
        raise DataError(f"{where}: it has no text; describe the segment, or leave it out")
    if duration_s is not None and span.start_s >= duration_s:
        raise DataError(
            f"{where}: it begins at {span.start_s:g} s, behind the end of the video at "
            f"{duration_s:g} s; correct its times, or leave it out"
        )
    end_s = span.end_s if duration_s is None else min(span.end_s, duration_s)
    if end_s <= span.start_s:
        raise DataError(
            f"{where}: it has no width ({span.start_s:g} s to {end_s:g} s); correct its times, or "
            "leave it out"
        )
    return Remark(TimeSpan(span.start_s, end_s), words)


def sound_scenes(
    makers: Iterable[Callable[[], Remark]],
) -> tuple[tuple[Remark, ...], list[DataError]]:
    """The scenes that can be made, in order of time, and what is wrong with the others."""
    scenes: list[Remark] = []
    faults: list[DataError] = []
    for make in makers:
        try:
            scenes.append(make())
        except DataError as error:
            faults.append(error)
    return in_order(scenes), faults


def in_order(remarks: Sequence[Remark]) -> tuple[Remark, ...]:
    """`remarks` by start, then end; those of the same times stay in their order."""
    return tuple(sorted(remarks, key=lambda each: (each.span.start_s, each.span.end_s)))
