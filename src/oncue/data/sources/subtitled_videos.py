"""Videos with subtitles: files beside them, or tracks inside them.

A subtitle file belongs to the video whose name it begins with: `clip.mp4` has `clip.srt`,
`clip.en.vtt`, `clip.json` or `clip.words.json`. It is looked for beside the video, then at the same
path in a folder of subtitles, then, if no other video has the name, anywhere in the paths given. Of
several, the best is used: transcripts (`oncue.data.sources.speech_json`), then .srt, then .vtt
(`oncue.data.sources.captions`); one that cannot be read gives way to the next. A video without a
file may have a track of subtitles (`oncue.data.sources.subtitle_tracks`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncue.data.source_videos import Remark, SourceVideo
from oncue.data.sources.captions import SUFFIXES, caption_words
from oncue.data.sources.sentences import sentences_of_words
from oncue.data.sources.speech_json import speech_words
from oncue.data.sources.subtitle_tracks import speaks, track_words
from oncue.data.sources.transcribers import Transcriber
from oncue.data.sources.video_names import (
    VIDEO_SUFFIXES,
    declared_duration_s,
    files_under,
    path_from,
    videos_at,
)
from oncue.errors import DataError, VideoError
from oncue.types import TimeSpan

_ORDER = (".json", *SUFFIXES)
_OTHER_JSON = ".info.json"  # what downloaders write of a video
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]+)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Subtitles:
    """A subtitle file: `tags` is what its name has between that of the video and its ending;
    `inside` is its folder, from the folder that was given."""

    path: Path
    tags: tuple[str, ...]
    inside: Path

    @property
    def languages(self) -> list[str]:
        """The tags that may be codes of languages."""
        return [tag for tag in self.tags if _LANGUAGE.fullmatch(tag)]


@dataclass(frozen=True, slots=True)
class SubtitledVideos:
    """The videos of these files and folders, or of `folder` where they have none, with their
    sentences. `language`: as of `SourceOptions`. A video without subtitles goes to `transcriber`,
    and is a DataError in its place where there is none."""

    paths: tuple[Path, ...]
    folder: Path | None = None
    language: str = ""
    transcriber: Transcriber | None = None

    def videos(self) -> Iterator[SourceVideo | DataError]:
        """Raises DataError where there is no video."""
        places = self._with_videos()
        found = list(videos_at(places))
        if not found and self.folder is not None:
            places = (self.folder,)
            found = list(videos_at(places))
        if not found:
            raise DataError(
                f"no video in {', '.join(map(str, places or self.paths))}; expected files that end "
                f"in {' '.join(VIDEO_SUFFIXES)} beside their subtitles, or give their folder with "
                "--videos"
            )
        stems = Counter(path.stem for _, path in found)
        owned, unowned = self._subtitles(stems)
        for name, path in found:
            subtitles = owned.get(path.stem, ())
            best = self._best(path, subtitles, is_only_one=stems[path.stem] == 1)
            yield from self._video(name, path, best)
        for path in unowned:
            yield DataError(
                f"{path}: there is no video of this name; give its folder with --videos"
            )

    def _with_videos(self) -> tuple[Path, ...]:
        return tuple(p for p in self.paths if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES)

    def _subtitles(
        self, stems: Container[str]
    ) -> tuple[Mapping[str, list[_Subtitles]], list[Path]]:
        """The subtitle files by the stem of their video, and those of no video."""
        owned: dict[str, list[_Subtitles]] = {}
        unowned = []
        for root, path in self._files():
            base, tags = path.name[: -len(path.suffix)], []
            while base not in stems and "." in base:
                base, _, tag = base.rpartition(".")
                tags.append(tag)
            if base in stems:
                inside = path.parent.relative_to(root)
                owned.setdefault(base, []).append(_Subtitles(path, tuple(tags), inside))
            elif path.suffix.lower() in SUFFIXES:
                unowned.append(path)
        return owned, unowned

    def _files(self) -> Iterator[tuple[Path, Path]]:
        """Folder and path of every file that may hold subtitles."""
        for path in self.paths:
            inside = files_under(path) if path.is_dir() else iter([path])
            if path.suffix.lower() in VIDEO_SUFFIXES:  # what is beside a video given by name
                named = f"{path.stem}."
                inside = (p for p in sorted(path.parent.iterdir()) if p.name.startswith(named))
            root = path if path.is_dir() else path.parent
            for each in inside:
                is_other = each.name.lower().endswith(_OTHER_JSON)
                if each.suffix.lower() in _ORDER and not is_other:
                    yield root, each

    def _best(
        self, video: Path, subtitles: Sequence[_Subtitles], *, is_only_one: bool
    ) -> list[Path]:
        """The subtitle files of a video, the best one first. `is_only_one`: no other video has its
        name, so that a file of this name anywhere is its own."""
        spoken = [each for each in subtitles if self._is_spoken(each)]
        found = [each for each in spoken if each.path.parent.absolute() == video.parent]
        if not found and self.folder is not None:
            inside = video.parent.relative_to(self.folder.absolute())
            found = [each for each in spoken if each.inside == inside]
        if not found and is_only_one:
            found = spoken

        def place(each: _Subtitles) -> tuple[bool, int, int, str]:
            unmarked = bool(self.language) and not each.languages
            return unmarked, _ORDER.index(each.path.suffix.lower()), len(each.tags), each.path.name

        return [each.path for each in sorted(found, key=place)]

    def _is_spoken(self, subtitles: _Subtitles) -> bool:
        marks = subtitles.languages
        return not (self.language and marks) or any(speaks(m, self.language) for m in marks)

    def _video(
        self, name: str, path: Path, subtitles: Sequence[Path]
    ) -> Iterator[SourceVideo | DataError]:
        try:
            duration_s = declared_duration_s(path)
            where, words, faults = self._words(path, subtitles)
        except VideoError as error:
            yield DataError(str(error))
            return
        yield from faults
        if words is None:
            yield DataError(
                f"{path} has no subtitles: no {path.stem}.srt, .vtt or .json, and no track of text"
                + (f" in {self.language!r}" if self.language else "")
                + "; add them, or use the source 'videos'"
            )
            return
        sentences = sentences_of_words(_within(words, duration_s))
        yield SourceVideo(
            name,
            path_from(self.folder, path),
            "subtitles",
            where,
            duration_s=duration_s,
            sentences=sentences,
        )

    def _words(
        self, path: Path, subtitles: Sequence[Path]
    ) -> tuple[str, Sequence[Remark] | None, list[DataError]]:
        """Where the words of a video are, the words, and what was wrong on the way."""
        faults: list[DataError] = []
        for file in subtitles:
            try:
                read = speech_words if file.suffix.lower() == ".json" else caption_words
                words, broken = read(file)
                return str(file), words, faults + broken
            except DataError as error:
                faults.append(error)
        track = track_words(path, self.language)
        if track is not None:
            return str(path), track[0], faults + track[1]
        if self.transcriber is not None:
            return str(path), self.transcriber.words(path), faults
        return str(path), None, faults


def _within(words: Sequence[Remark], duration_s: float | None) -> list[Remark]:
    """The words that begin in the video, none of them longer."""
    if duration_s is None:
        return list(words)
    return [
        Remark(TimeSpan(word.span.start_s, min(word.span.end_s, duration_s)), word.text)
        for word in words
        if word.span.start_s < duration_s
    ]
