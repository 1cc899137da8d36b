"""The sources that the pipeline knows by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncue.data.source_videos import VideoKind, VideoSource
from oncue.data.sources.bare_videos import BareVideos
from oncue.data.sources.dense_captions import DenseCaptions
from oncue.data.sources.ego_exo_4d import EgoExo4D
from oncue.data.sources.ego_exo_learn import EgoExoLearn
from oncue.data.sources.gold_files import GoldFiles
from oncue.data.sources.live_whisperx import LiveWhisperX
from oncue.data.sources.made_worlds import MadeWorlds
from oncue.data.sources.parts import LONGEST_PART_S, SHORTEST_PART_S, PartsSource
from oncue.data.sources.subtitled_videos import SubtitledVideos
from oncue.data.sources.transcribers import FasterWhisper, Transcriber
from oncue.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What may be set for any source.

    `videos`: the folder that the paths of videos count from. `kind` and `name` (of the data set)
    take the place of those of the source. Videos longer than `longest_part_s` seconds are cut into
    parts (see `oncue.data.sources.parts`); None: none is. `speech`: a model of faster-whisper, by
    name or folder, that writes the sentences of videos without subtitles; "": none does.
    `language`: the code of the subtitles to use where a video has several, and of what is spoken;
    "": the first, or what is heard.
    """

    videos: Path | None = None
    kind: VideoKind | None = None
    name: str = ""
    longest_part_s: float | None = LONGEST_PART_S
    shortest_part_s: float = SHORTEST_PART_S
    speech: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A kind of source: what it is in one line, which paths it wants, and what opens it."""

    description: str
    paths: str
    opened: Callable[[tuple[Path, ...], SourceOptions], VideoSource]


def _transcriber(options: SourceOptions) -> Transcriber | None:
    return FasterWhisper(options.speech, options.language) if options.speech else None


SOURCES: dict[str, KnownSource] = {
    "subtitles": KnownSource(
        "videos with subtitles: SRT, WebVTT or Whisper JSON beside them, or tracks inside",
        "videos, or folders of videos, with their subtitles",
        lambda paths, options: SubtitledVideos(
            paths, options.videos, options.language, _transcriber(options)
        ),
    ),
    "videos": KnownSource(
        "any videos: scenes from their pictures, or from what is said (--speech)",
        "videos, or folders of videos",
        lambda paths, options: BareVideos(paths, options.videos, _transcriber(options)),
    ),
    "live-whisperx": KnownSource(
        "Live-WhisperX (LiveCC): clips of web videos with timed words",
        "its JSON lines",
        lambda paths, _: LiveWhisperX(paths),
    ),
    "ego-exo4d": KnownSource(
        "Ego-Exo4D: atomic descriptions and keysteps of takes",
        "takes.json and its files of annotations",
        lambda paths, options: EgoExo4D(paths, options.videos),
    ),
    "egoexolearn": KnownSource(
        "EgoExoLearn: coarse steps and fine actions of long ego videos",
        "coarse_annotations.tar.gz or its folder, or fine_annotation_*_en.csv",
        lambda paths, options: EgoExoLearn(paths, options.videos),
    ),
    "youcook2": KnownSource(
        "YouCook2: steps of recipes in web videos, with their times",
        "its JSON files, of either shape",
        lambda paths, options: DenseCaptions(paths, options.videos, "YouCook2"),
    ),
    "activitynet": KnownSource(
        "ActivityNet Captions, and dense captions of its shape",
        "its JSON files: train.json, val_1.json, ...",
        lambda paths, options: DenseCaptions(paths, options.videos, "ActivityNet Captions"),
    ),
    "gold": KnownSource(
        "gold files of ProactiveVideoQA's form: what replies are about becomes scenes",
        "its JSON files",
        lambda paths, _: GoldFiles(paths),
    ),
    "world": KnownSource(
        "made-up clips with exact scenes, to try the pipeline without any data",
        "folders that 'oncue world make' wrote",
        lambda paths, _: MadeWorlds(paths),
    ),
}


def make_source(
    name: str, paths: Sequence[Path], options: SourceOptions = SourceOptions()
) -> VideoSource:
    """The source of this name in `SOURCES`, of these files or folders, with long videos cut into
    parts and every id there once.

    Nothing is read before its `videos` are. Raises ConfigError for an unknown name, and DataError
    for a path that is not there.
    """
    if name not in SOURCES:
        raise ConfigError(f"unknown source {name!r}; expected one of {', '.join(SOURCES)}")
    known = SOURCES[name]
    if not paths:
        raise DataError(f"the source {name} needs paths; give {known.paths}")
    for path in (*paths, *filter(None, [options.videos])):
        if not path.exists():
            raise DataError(f"there is no {path}; the source {name} reads {known.paths}")
    return PartsSource(
        known.opened(tuple(paths), options),
        options.longest_part_s,
        options.shortest_part_s,
        options.kind,
        options.name,
    )
