"""Questions about whole videos and their captions, in the forms in which others publish them.

- LLaVA-Video-178K: `video`, `conversations` [{from, value}]; `<image>` is where the video is shown.
- Tarsier2-Recap: `messages` [{role, content: parts}]; a part {type: video, video: {video_file,
  start_time?, end_time?, start_frame?, end_frame?, frame_indices?, time_indices?}}.
- Rows of trainers: `messages` or `conversations` whose text has `<video>` and `<image>` marks, and
  `videos` and `images` in the order of their marks. Without marks all are shown first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from oncue.errors import DataError
from oncue.fields import Index, Must, NonEmptyText, Seconds, field_as, field_or, has_value, read_as

EXPECTED = "a question about a video, an object with messages or conversations"
_MARKS = re.compile(r"(<video>|<image>)")
_ROLES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True, slots=True)
class Medium:
    """A picture, or a clip of a video, as a row names it.

    `path`: of the picture, the video, or a folder of its frames. `frames`: the paths of its frames,
    where the row lists those. `start`, `end`: of the used part, None for the end of the video; in
    seconds, or in frames of the video where `in_frames`. `moments`: the times of the frames to be
    shown, or their numbers, where the row lists them.
    """

    path: str
    is_picture: bool = False
    frames: tuple[str, ...] = ()
    start: float = 0.0
    end: float | None = None
    moments: tuple[float, ...] = ()
    in_frames: bool = False


@dataclass(frozen=True, slots=True)
class OfflineTurn:
    """One message: text, what is shown, text. `is_trained`: whether the loss covers it."""

    role: str
    text: str
    media: tuple[Medium, ...] = ()
    lead: str = ""
    is_trained: bool = False


@dataclass(frozen=True, slots=True)
class OfflineRow:
    """A dialogue about media. Without a system turn the default one of the model comes first."""

    row_id: str
    turns: tuple[OfflineTurn, ...]

    @property
    def media(self) -> Iterator[Medium]:
        """What it shows, in order."""
        return (medium for turn in self.turns for medium in turn.media)


def read_offline_row(row: Mapping[str, Any], where: str) -> OfflineRow:
    """The row of a JSON object. Raises DataError, with `where` and what is wrong, for any other
    form, and where marks and media are not equal in number."""
    name = "messages" if has_value(row, "messages") else "conversations"
    said = field_as(tuple[dict[str, Any], ...], row, name, where)
    media = _Media.of(row, where)
    turns = [_turn(each, media, f"{where}, {name} {n}") for n, each in enumerate(said, 1)]
    left = media.left()
    first = next((n for n, turn in enumerate(turns) if turn.role == "user"), None)
    if left and not media.num_marks and first is not None:
        shown = turns[first]
        turns[first] = OfflineTurn(shown.role, shown.text, (*left, *shown.media), shown.lead)
    elif left:
        raise DataError(
            f"{where}: {media.num_marks} marks, but {media.num_marks + len(left)} videos and "
            "images; they must be equal in number, or there must be no mark"
        )
    _check_order(turns, where)
    return OfflineRow(str(next((row[k] for k in _IDS if has_value(row, k)), where)), tuple(turns))


_IDS = ("id", "idx", "question_id")


def _check_order(turns: Sequence[OfflineTurn], where: str) -> None:
    roles = [turn.role for turn in turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    expected = [("user", "assistant")[n % 2] for n in range(len(spoken))]
    if not spoken or len(spoken) % 2 or spoken != expected:
        raise DataError(
            f"{where}: roles must be user and assistant in turn, an answer last (a system message "
            f"may be first), got {', '.join(roles) or 'no message'}"
        )


@dataclass(slots=True)
class _Media:
    """The media of a row that are not yet in their places."""

    videos: list[Medium]
    images: list[Medium]
    num_marks: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any], where: str) -> _Media:
        images = [
            Medium(_path(each, f"{where}, images {n}"), is_picture=True)
            for n, each in enumerate(_listed(row, "image", "images"), 1)
        ]
        videos = [
            _video(each, f"{where}, videos {n}")
            for n, each in enumerate(_listed(row, "video", "videos"), 1)
        ]
        return cls(videos, images)

    def at(self, mark: str, where: str) -> Medium:
        """The next one, for the place of `mark`. LLaVA-Video marks a video as an image."""
        self.num_marks += 1
        of_mark = self.videos if mark == "<video>" or not self.images else self.images
        if not of_mark:
            raise DataError(f"{where}: nothing is left for its {mark} mark; list the file")
        return of_mark.pop(0)

    def left(self) -> list[Medium]:
        """Those without a mark."""
        return [*self.videos, *self.images]


def _listed(row: Mapping[str, Any], one: str, many: str) -> Sequence[Any]:
    given = row.get(many) or row.get(one) or ()
    return given if isinstance(given, list) else [given] if given else ()


def _path(given: Any, where: str) -> str:
    if isinstance(given, Mapping):
        given = next((given[k] for k in ("path", "image", "video") if has_value(given, k)), None)
    if not isinstance(given, str) or not given.strip():
        raise DataError(f"{where}: expected a path, got {given!r:.80}")
    return given


def _video(given: Any, where: str) -> Medium:
    if isinstance(given, list) and given:
        frames = tuple(_path(each, where) for each in given)
        return Medium(frames[0], frames=frames)
    return Medium(_path(given, where))


def _turn(said: Mapping[str, Any], media: _Media, where: str) -> OfflineTurn:
    given = field_as(str, said, "role" if "role" in said else "from", where)
    role = _ROLES.get(given, given)
    if role not in ("system", "user", "assistant"):
        raise DataError(f"{where}: expected a role of system, user or assistant, got {given!r:.80}")
    content = said.get("content" if "content" in said else "value")
    parts = list(_parts(content, media, where, splits=role == "user"))
    shown = [n for n, part in enumerate(parts) if isinstance(part, Medium)]
    first, end = (shown[0], shown[-1] + 1) if shown else (0, 0)
    if len(shown) != end - first or (shown and role != "user"):
        raise DataError(
            f"{where}: videos and images must follow one another in a user message, without text "
            "between them"
        )
    lead, text = (_joined(some) for some in (parts[:first], parts[end:]))
    if not (text or lead).strip() and not (shown and role == "user"):
        raise DataError(f"{where}: the message is empty; give it text, or leave the row out")
    is_trained = role == "assistant" and field_or(bool, said, "loss", where, True)
    found = tuple(part for part in parts if isinstance(part, Medium))
    return OfflineTurn(role, text.strip("\n"), found, lead.rstrip("\n"), is_trained)


def _joined(parts: Sequence[str | Medium]) -> str:
    return "".join(part for part in parts if isinstance(part, str))


def _parts(content: Any, media: _Media, where: str, *, splits: bool) -> Iterator[str | Medium]:
    """Text and media in their order, no empty text."""
    if isinstance(content, str):
        for piece in _MARKS.split(content) if splits else [content]:
            if splits and _MARKS.fullmatch(piece):
                yield media.at(piece, where)
            elif piece.strip("\n") or (piece and not splits):
                yield piece
        return
    if not isinstance(content, list):
        raise DataError(f"{where}: expected text or a list of parts, got {content!r:.80}")
    for number, part in enumerate(content, 1):
        yield _part(part, f"{where}, part {number}")


def _part(part: Any, where: str) -> str | Medium:
    kind = field_as(str, part, "type", where)
    if kind == "text":
        return str(field_as(str, part, "text", where))
    if kind == "image":
        given = field_as(Any, part, "image", where)
        named = given.get("image_file") if isinstance(given, Mapping) else given
        return Medium(_path(named if named is not None else given, where), is_picture=True)
    if kind == "video":
        given = field_as(Any, part, "video", where)
        return _film(given, where) if isinstance(given, Mapping) else _video(given, where)
    raise DataError(f"{where}: expected a part of type text, image or video, got {kind!r:.80}")


def _not_empty(value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if value is not None and not value:
        raise ValueError("must not be an empty list; leave it out")
    return value


_Files = NonEmptyText | Annotated[tuple[NonEmptyText, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Film:
    """The video of a part, as Tarsier2 writes it. Keys that siblings have are null."""

    video_file: Annotated[_Files, Must("a path, or a list of paths")]
    start_time: Seconds | None = None
    end_time: Seconds | None = None
    start_frame: Index | None = None
    end_frame: Index | None = None
    frame_indices: Annotated[tuple[Index, ...] | None, AfterValidator(_not_empty)] = None
    time_indices: Annotated[tuple[Seconds, ...] | None, AfterValidator(_not_empty)] = None

    def __post_init__(self) -> None:
        for what, start, end in (
            ("time", self.start_time, self.end_time),
            ("frame", self.start_frame, self.end_frame),
        ):
            if end is not None and end <= (start or 0):
                raise ValueError(f"end_{what} must be after start_{what}, got {start} and {end}")


def _film(given: Mapping[str, Any], where: str) -> Medium:
    film = read_as(_Film, given, where)
    path = film.video_file if isinstance(film.video_file, str) else film.video_file[0]
    frames = () if isinstance(film.video_file, str) else film.video_file
    if film.frame_indices or film.time_indices:
        moments = film.frame_indices or film.time_indices or ()
        return Medium(path, frames=frames, moments=moments, in_frames=bool(film.frame_indices))
    if film.start_time is not None or film.end_time is not None:
        return Medium(path, frames=frames, start=film.start_time or 0.0, end=film.end_time)
    in_frames = film.start_frame is not None or film.end_frame is not None
    return Medium(
        path, frames=frames, start=film.start_frame or 0, end=film.end_frame, in_frames=in_frames
    )
