"""A look at the videos and pictures that rows name, each once for rows that follow each other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from oncue.data.proactive_rows import ProactiveRow
from oncue.data.quality.faults import FaultKind, Finding
from oncue.data.video_files import find_video
from oncue.dialogue.frames import video_of
from oncue.dialogue.pictures import picture_size_px
from oncue.errors import CorruptStretchWarning, DataError, InputError, VideoError
from oncue.video.decode import Decoder
from oncue.video.probe import describe

LENGTH_TOLERANCE_S = 0.5  # what containers declare and annotations round
_REMEDY_CORRUPT = "get the video once more, or drop its rows"
_NUM_KEPT = 512  # looks


@dataclass(frozen=True, slots=True)
class VideoLook:
    """What was seen of a video: its picture's size (height, width), its length where known, and
    what is wrong with it."""

    size_px: tuple[int, int] | None = None
    length_s: float | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class PictureLook:
    size_px: tuple[int, int] | None
    finding: Finding | None = None


class Media:
    """Looks at files. `videos`: the folder that the paths of rows are looked for in. `decode`:
    whole videos, and not only their first frame."""

    def __init__(self, videos: Path | None = None, *, decode: bool = False) -> None:
        self._videos, self._decode = videos, decode
        self._look = lru_cache(_NUM_KEPT)(self._look_at)
        self._picture = lru_cache(_NUM_KEPT)(_look_at_picture)

    def of_row(self, row: ProactiveRow) -> VideoLook:
        """The video of `row`: what is wrong with it alone, and with the part that the row uses."""
        if self._videos is None:
            return VideoLook()
        try:
            path = find_video(row.video, self._videos)
        except DataError as error:
            return VideoLook(findings=(_missing(error),))
        look = self._look(path)
        end_s = row.part.end_s if row.part is not None else row.task.duration_s
        length_s = look.length_s
        if length_s is None:
            return look
        if end_s is not None and end_s > length_s + LENGTH_TOLERANCE_S:
            said = f"the row goes to {end_s:g} s of the file, which has {length_s:.10g} s"
            remedy = "correct part or duration, or get the whole video"
            finding = Finding(FaultKind.OUTSIDE_VIDEO, said, remedy)
            look = replace(look, findings=(*look.findings, finding))
        start_s = row.part.start_s if row.part is not None else 0.0
        used_s = min(length_s, row.part.end_s) if row.part is not None else length_s
        return replace(look, length_s=max(used_s - start_s, 0.0))

    def of_image(self, image: Path) -> PictureLook:
        """A picture, or the moment of a video, that an SFT row names."""
        video = video_of(image)
        if video is None:
            return self._picture(image)
        look = self._look(Path(video))
        return PictureLook(look.size_px, look.findings[0] if look.findings else None)

    def _look_at(self, path: Path) -> VideoLook:
        try:
            with _damage() as damage:
                look = _watched(path, decode=self._decode)
        except InputError as error:
            is_there = path.is_file()
            kind = FaultKind.CORRUPT_VIDEO if is_there else FaultKind.MISSING_VIDEO
            return VideoLook(findings=(Finding(kind, str(error), _REMEDY_CORRUPT),))
        found = tuple(Finding(FaultKind.CORRUPT_VIDEO, said, _REMEDY_CORRUPT) for said in damage)
        return replace(look, findings=found)


def _watched(path: Path, *, decode: bool) -> VideoLook:
    decoder = Decoder(path)
    try:
        frames = decoder.frames()
        _, first = next(frames)
        info = describe(decoder, first)
        length_s = info.duration_s
        if decode:
            for _ in frames:
                pass
            length_s = decoder.end_s
        frames.close()
    finally:
        decoder.close()
    if not (info.width_px and info.height_px):
        raise VideoError(f"{path} has pictures without a size")
    return VideoLook((info.height_px, info.width_px), length_s)


@contextmanager
def _damage() -> Iterator[list[str]]:
    """What is warned of in the block: stretches that cannot be decoded."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CorruptStretchWarning)
        yield said
    for each in caught:
        if issubclass(each.category, CorruptStretchWarning):
            said.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _look_at_picture(image: Path) -> PictureLook:
    try:
        return PictureLook(picture_size_px(image))
    except InputError as error:
        remedy = "put the picture there, or drop the row"
        return PictureLook(None, Finding(FaultKind.MISSING_PICTURE, str(error), remedy))


def _missing(error: DataError) -> Finding:
    said, _, remedy = str(error).partition("; ")
    return Finding(FaultKind.MISSING_VIDEO, said, remedy)
