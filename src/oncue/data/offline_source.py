"""Questions about whole videos as training dialogues: a few frames of each clip, then the question
and its answer, in the default chat template of the model. They keep the offline skill of a model
that learns to watch (MMDuet2 section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from oncue.clock import Clock
from oncue.data.dialogue_sources import Item
from oncue.data.offline_qa import EXPECTED, Medium, OfflineTurn, read_offline_row
from oncue.data.row_files import Place, RowFiles
from oncue.data.video_files import find_video
from oncue.dialogue.frames import load_frames
from oncue.dialogue.pictures import load_picture, picture_size_px
from oncue.errors import ConfigError, DataError
from oncue.types import Dialogue, DialogueTurn
from oncue.video.pool import spread
from oncue.video.pool_reader import Shrink, read_pool, zoom_of
from oncue.video.probe import probe

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class OfflineSource:
    """Questions and captions of the files `paths` (see `oncue.data.offline_qa`), shuffled again in
    every epoch.

    Of a clip as many frames are shown as it has intervals of `sample_interval_s`, at most
    `max_frames`, evenly over the clip. `videos`: the folder of the videos and images; None: that
    of the file.
    """

    paths: tuple[Path, ...]
    max_frames: int
    sample_interval_s: float = 1.0
    videos: Path | None = None

    def __post_init__(self) -> None:
        if self.max_frames < 1 or not self.sample_interval_s > 0:
            raise ConfigError(
                "an offline source needs max_frames >= 1 and sample_interval_s > 0, got "
                f"{self.max_frames} and {self.sample_interval_s}"
            )

    def __len__(self) -> int:
        return len(RowFiles(self.paths))

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,  # noqa: ARG002 - a question about a whole video has none
        frames_per_turn: int,  # noqa: ARG002
        shrink: Shrink | None = None,
    ) -> Item:
        """Row `index` of the shuffled epochs, with its frames. Raises DataError, with file and row,
        for a row that cannot be used."""
        place = RowFiles(self.paths).shuffled(index, seed)
        with place.named():
            row = read_offline_row(place.read(EXPECTED), str(place))
            shown = [[self._frames(m, place, shrink) for m in turn.media] for turn in row.turns]
        turns = [
            _turn(turn, sum(map(len, frames)))
            for turn, frames in zip(row.turns, shown, strict=True)
        ]
        trained = tuple(turn.is_trained for turn in row.turns)
        frames = [pixels for media in shown for some in media for pixels in some]
        return Dialogue(row.row_id, tuple(turns), trained), frames

    @contextmanager
    def named(self, index: int, seed: int) -> Iterator[None]:
        """What is wrong with row `index` is a DataError that begins with its file and number."""
        with RowFiles(self.paths).shuffled(index, seed).named():
            yield

    def checks(self) -> Iterator[Callable[[], None]]:
        """A call for every row, which raises DataError for one that cannot be used."""
        return (partial(self._check, place) for place in RowFiles(self.paths).places())

    def _check(self, place: Place) -> None:
        with place.named():
            for medium in read_offline_row(place.read(EXPECTED), str(place)).media:
                path = self._find(medium.path, place)
                if medium.is_picture or medium.frames:
                    picture_size_px(path)
                elif path.is_dir():
                    _pictures_in(path)
                else:
                    probe(path)

    def _frames(self, medium: Medium, place: Place, shrink: Shrink | None) -> list[np.ndarray]:
        make_small = shrink or (lambda pixels: pixels)
        path = self._find(medium.path, place)
        if medium.is_picture:
            return [make_small(load_picture(path))]
        pictures = [self._find(name, place) for name in medium.frames]
        if path.is_dir():
            pictures = _pictures_in(path)
        if pictures:
            chosen = spread(0, len(pictures) - 1, self.max_frames)
            return [make_small(load_picture(pictures[n])) for n in chosen]
        return self._of_video(medium, path, shrink)

    def _of_video(self, medium: Medium, path: Path, shrink: Shrink | None) -> list[np.ndarray]:
        info = probe(path)
        rate = info.average_rate if medium.in_frames else 1.0
        if rate is None:
            raise DataError(f"{path} does not say its frame rate; give times in seconds")
        if medium.moments:
            chosen = spread(0, len(medium.moments) - 1, self.max_frames)
            times_s = [medium.moments[n] / rate for n in chosen]
            frames = load_frames([f"{path}#t={time_s:.6f}" for time_s in times_s])
            return [shrink(pixels) for pixels in frames] if shrink else frames
        start_s = medium.start / rate
        end_s = info.duration_s if medium.end is None else medium.end / rate
        if info.duration_s is not None and start_s >= info.duration_s:
            raise DataError(
                f"{path} ends at {info.duration_s:g} s, before the part from {start_s:g} s on"
            )
        if end_s is None:
            return list(read_pool(path, self.max_frames, shrink=shrink).frames.pixels)
        end_s = min(end_s, info.duration_s or end_s)
        wanted = Clock(self.sample_interval_s).frames_until(end_s - start_s)
        num_frames = min(max(wanted, 1), self.max_frames)
        return list(zoom_of(path, shrink=shrink)(start_s, end_s, num_frames).pixels)

    def _find(self, written: str, place: Place) -> Path:
        folder = place.path.parent if self.videos is None else self.videos
        at = folder / written
        return at if at.is_dir() else find_video(written, folder)


def _turn(turn: OfflineTurn, num_frames: int) -> DialogueTurn:
    return DialogueTurn(turn.role, turn.text, num_frames, turn.lead)


def _pictures_in(folder: Path) -> list[Path]:
    """The frames of a video that is a folder of them, in the order of their names."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if not found:
        raise DataError(f"{folder} holds no picture; expected the frames of a video")
    return found
