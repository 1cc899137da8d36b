"""What is read of a video before a model is asked: its length, its scenes, a few frames of each.

It runs in a process of its own, since decoding keeps a processor busy and may crash.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oncue.data.pipeline.values import (
    SCENES,
    VIDEO,
    BuildSettings,
    Rejected,
    SeenScene,
    SeenVideo,
)
from oncue.data.source_videos import Remark, SourceVideo
from oncue.data.sources.scene_cuts import find_scenes
from oncue.data.sources.sentences import scenes_of_sentences
from oncue.data.video_files import find_video
from oncue.errors import ConfigError, CorruptStretchWarning, DataError, InputError
from oncue.types import TimeSpan
from oncue.video.decode import Decoder
from oncue.video.landmarks import find_landmarks
from oncue.video.pool import frame_time_s
from oncue.video.pool_reader import zoom_of

_JPEG_QUALITY = 85


def read_video(video: SourceVideo, folder: Path, settings: BuildSettings) -> SeenVideo | Rejected:
    """What is to be captioned of `video`, or why it cannot be used. Damaged stretches are listed;
    what of the scenes lies behind the end of the video is left out."""
    try:
        path = find_video(video.video, folder)
    except DataError as error:
        return Rejected(VIDEO, "missing", str(error))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CorruptStretchWarning)
        try:
            seen = _read(video, path, settings)
        except ConfigError:  # not the video's fault
            raise
        except InputError as error:
            return Rejected(VIDEO, "corrupt", str(error))
    if isinstance(seen, Rejected):
        return seen
    damage = [str(w.message) for w in caught if issubclass(w.category, CorruptStretchWarning)]
    return replace(seen, damage=tuple(dict.fromkeys(damage)))


def _read(video: SourceVideo, path: Path, settings: BuildSettings) -> SeenVideo | Rejected:
    length_s = _length_s(path)
    part = video.part or TimeSpan(0.0, length_s)
    if part.start_s >= length_s:
        return Rejected(
            VIDEO,
            "corrupt",
            f"{path} ends at {length_s:.10g} s, before its part from {part.start_s:.10g} s on; "
            "give the whole video",
        )
    duration_s = round(min(part.end_s, length_s) - part.start_s, 9)
    found_by, remarks = _scenes(video, path, duration_s)
    scenes = _inside(remarks, duration_s)
    if not scenes:
        return Rejected(
            SCENES, "none", f"none of its scenes (by {found_by}) lies in its {duration_s:.10g} s"
        )
    is_noted = found_by == "annotations"
    needs_frames = not (is_noted and settings.captions == "annotated")
    frames = _frames(path, part.start_s, scenes, settings) if needs_frames else None
    seen = [
        SeenScene(
            scene.span,
            _said_in(scene.span, video.sentences),
            scene.text if is_noted else "",
            frames[i] if frames is not None else (),
        )
        for i, scene in enumerate(scenes)
    ]
    return SeenVideo(duration_s, tuple(seen), found_by)


def _length_s(path: Path) -> float:
    """The length of the video; where its container cannot be believed, all of it is decoded."""
    landmarks = find_landmarks(path)
    if landmarks is not None:
        return landmarks.end_s
    decoder = Decoder(path)
    try:
        newest_s = 0.0
        for time_s, _ in decoder.frames():
            newest_s = time_s
        return max(decoder.end_s, newest_s)
    finally:
        decoder.close()


def _scenes(video: SourceVideo, path: Path, duration_s: float) -> tuple[str, tuple[Remark, ...]]:
    """How scenes were found, and the scenes (MMDuet2 section 3): annotated ones; else those of
    sentences; else those of the pictures."""
    if video.scenes:
        return "annotations", video.scenes
    if video.sentences:
        return "sentences", scenes_of_sentences(video.sentences, duration_s)
    spans = find_scenes(path, video.part)
    return "pictures", tuple(Remark(span, "") for span in spans)


def _inside(remarks: Sequence[Remark], duration_s: float) -> list[Remark]:
    """The scenes cut at the end of the video, in order of time; none without width."""
    inside = [
        Remark(TimeSpan(r.span.start_s, min(r.span.end_s, duration_s)), r.text)
        for r in remarks
        if r.span.start_s < min(r.span.end_s, duration_s)
    ]
    return sorted(inside, key=lambda r: (r.span.start_s, r.span.end_s))


def _said_in(span: TimeSpan, sentences: Sequence[Remark]) -> str:
    """The sentences of which the middle lies in `span`."""
    return " ".join(
        s.text for s in sentences if (s.span.start_s + s.span.end_s) / 2 in span and s.text.strip()
    )


def _frames(
    path: Path, begin_s: float, scenes: Sequence[Remark], settings: BuildSettings
) -> list[tuple[bytes, ...]]:
    """A few frames of each scene as JPEG: the middles of equal parts of it."""
    num = settings.frames_per_scene
    moments = [
        [
            round(begin_s + s.span.start_s + frame_time_s(i, num, s.span.duration_s), 9)
            for i in range(num)
        ]
        for s in scenes
    ]
    times_s = sorted({time_s for of_scene in moments for time_s in of_scene})
    shown = zoom_of(path, shrink=lambda pixels: _shrunk(pixels, settings.frame_pixels)).at(times_s)
    jpegs = {t: _jpeg(pixels) for t, pixels in zip(times_s, shown.pixels, strict=True)}
    return [tuple(jpegs[t] for t in of_scene) for of_scene in moments]


def _shrunk(pixels: np.ndarray, most_pixels: int) -> np.ndarray:
    from PIL import Image

    height_px, width_px = pixels.shape[:2]
    scale = (most_pixels / (height_px * width_px)) ** 0.5
    if scale >= 1:
        return pixels
    size = max(1, int(width_px * scale)), max(1, int(height_px * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()
