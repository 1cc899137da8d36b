"""Videos of which nothing is written: files, and all videos in folders.

With a transcriber, what is said in them becomes sentences. A video without speech has neither
sentences nor scenes; the pipeline then looks for scenes in its pictures
(`oncue.data.sources.scene_cuts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oncue.data.source_videos import SourceVideo
from oncue.data.sources.sentences import sentences_of_words
from oncue.data.sources.transcribers import Transcriber
from oncue.data.sources.video_names import (
    VIDEO_SUFFIXES,
    declared_duration_s,
    path_from,
    videos_at,
)
from oncue.errors import DataError, VideoError


@dataclass(frozen=True, slots=True)
class BareVideos:
    """The videos of these files and folders. `folder`: that paths count from."""

    paths: tuple[Path, ...]
    folder: Path | None = None
    transcriber: Transcriber | None = None

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """A file that is no video is a DataError in its place. Raises DataError where no path holds
        a video."""
        num_videos = 0
        for name, path in videos_at(self.paths):
            num_videos += 1
            try:
                words = self.transcriber.words(path) if self.transcriber is not None else ()
                yield SourceVideo(
                    name,
                    path_from(self.folder, path),
                    "videos",
                    str(path),
                    duration_s=declared_duration_s(path),
                    sentences=sentences_of_words(words),
                )
            except VideoError as error:
                yield DataError(str(error))
        if not num_videos:
            raise DataError(
                f"no video in {', '.join(map(str, self.paths))}; expected files that end in "
                f"{' '.join(VIDEO_SUFFIXES)}"
            )
