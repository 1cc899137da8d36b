"""Who writes down what is said in a video that has no subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from oncue.data.source_videos import Remark
from oncue.errors import ConfigError
from oncue.extras import install_command
from oncue.types import TimeSpan
from oncue.video.decode import Decoder

PACKAGE = "faster-whisper"


class Transcriber(Protocol):
    """Gives the words that are spoken in a video file, in order, with their times in seconds of the
    file; none where nobody speaks."""

    def words(self, video: Path) -> Sequence[Remark]: ...


@dataclass(frozen=True, slots=True)
class FasterWhisper:
    """A model of faster-whisper (`pip install 'oncue[speech]'`), loaded when it is first used.

    `model`: a size that is downloaded ("small", "large-v3", ...), a hub id, or a folder.
    `language`: the code of what is spoken ("en"); "": what the model hears. `device`: "auto",
    "cuda" or "cpu".
    """

    model: str
    language: str = ""
    device: str = "auto"

    def words(self, video: Path) -> Sequence[Remark]:
        """Raises ConfigError where faster-whisper is not installed or has no such model, VideoError
        for what is no video. Silence is skipped by its voice detector."""
        if not _has_sound(video):
            return ()
        segments, _ = _loaded(self.model, self.device).transcribe(
            str(video), language=self.language or None, word_timestamps=True, vad_filter=True
        )
        return tuple(
            Remark(TimeSpan(float(word.start), max(float(word.start), float(word.end))), word.word)
            for segment in segments
            for word in segment.words or ()
        )


def _has_sound(video: Path) -> bool:
    decoder = Decoder(video)
    try:
        return bool(decoder.container.streams.audio)
    finally:
        decoder.close()


@lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ConfigError(
            f"writing down what is said needs faster-whisper; install it with "
            f"{install_command(PACKAGE)}"
        ) from error
    try:
        return WhisperModel(model, device=device)
    except (OSError, ValueError, RuntimeError) as error:  # also of the hub, and of CTranslate2
        raise ConfigError(
            f"faster-whisper cannot load the model {model!r} ({error}); give a size such as small, "
            "or the folder of a model"
        ) from error
